// Pictures of the page: the one in the README, and, to be looked at, those of all views.
//
//     npm ci --prefix tests/node && node tests/node/pictures.mjs target/debug/facteur [DIRECTORY [VIEW…]]
//
// Without DIRECTORY, docs/inbox.png is made again. With it, all views or those that are named are put
// there in both colour schemes, wide and narrow. Always the same mails are shown, at the same time of the same day.
//
// Needs Node.js, npm and Chromium; CHROMIUM names it.

import fs from 'node:fs';
import path from 'node:path';

import { chromium } from 'playwright-core';

import { browser as browserOptions, newDirectory, programOf, start } from './daemon.mjs';
import { addressesOf, letter, samples } from './mails.mjs';
import { reduced } from './png.mjs';

const NOW = Date.UTC(2026, 10, 30, 14, 32);
const READ = ['Grüße aus Köln', '会議の議事録を送ります', undefined, 'Your receipt for order 20261129', 'Re: Where is my parcel?', 'Lunch on Thursday?'];
const README = new URL('../../docs/inbox.png', import.meta.url).pathname;

/** Puts the mails into a Maildir, each at its time. */
function put(mail) {
	for (const one of samples) {
		const [address] = addressesOf(one);
		const [localPart, domain] = address.split('@');
		const box = path.join(mail, domain, localPart);
		for (const name of ['tmp', 'new', 'cur']) fs.mkdirSync(path.join(box, name), { recursive: true, mode: 0o700 });
		const date = new Date(NOW - one.age * 1000);
		const file = path.join(box, 'new', `${date.getTime()}.picture`);
		const trace = `Return-Path: <bounces@example.org>\r\nReceived: from app ([127.0.0.1])\r\n\tby localhost (facteur) with ESMTP id 7e505efb;\r\n\t${date.toUTCString()}\r\n`;
		fs.writeFileSync(file, trace + letter({ ...one, date }), { mode: 0o600 });
		fs.utimesSync(file, date, date);
	}
}

const directory = newDirectory();
fs.mkdirSync(path.join(directory, 'mail'), { mode: 0o700 });
const daemon = await start(programOf(), directory);
const empty = newDirectory();
const emptyDaemon = await start(programOf(), empty);
put(daemon.mail);
const list = async () => (await (await fetch(`${daemon.web}api/v1/messages`)).json()).messages;
while ((await list()).length < samples.length) await new Promise((done) => setTimeout(done, 100));
const ids = new Map((await list()).map(({ Subject, ID }) => [Subject || undefined, ID]));
await fetch(`${daemon.web}api/v1/messages`, { method: 'PUT', body: JSON.stringify({ IDs: READ.map((subject) => ids.get(subject)), Read: true }) });

// A frame in a process of its own would be drawn in half the resolution.
const args = [...browserOptions.args, '--disable-features=IsolateSandboxedIframes'];
const browser = await chromium.launch({ ...browserOptions, args });

/** Takes a picture of a place, after `prepare(page)`. */
async function shoot(file, { width, height, scheme, url, prepare }) {
	const context = await browser.newContext({ viewport: { width, height }, deviceScaleFactor: 2, colorScheme: scheme, locale: 'en-GB', timezoneId: 'UTC' });
	await context.clock.setFixedTime(NOW);
	const page = await context.newPage();
	await page.goto(url);
	await page.waitForFunction(() => /full|none/.test(document.getElementById('app').dataset.list) && !document.querySelector('[aria-busy=true]'));
	await prepare?.(page);
	for (const frame of page.frames()) await frame.waitForLoadState('load');
	await page.evaluate(() => document.fonts.ready);
	await page.screenshot({ path: file });
	await context.close();
}

/** Makes a picture smaller; the browser can read it. */
async function reduce(file) {
	const page = await browser.newPage();
	const { width, height, pixels } = await page.evaluate(async (octets) => {
		const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${octets}`)).blob());
		const { width: w, height: h } = picture;
		const pen = new OffscreenCanvas(w, h).getContext('2d');
		pen.drawImage(picture, 0, 0);
		const { data } = pen.getImageData(0, 0, w, h);
		let text = '';
		for (let at = 0; at < data.length; at += 0x8000) text += String.fromCharCode(...data.subarray(at, at + 0x8000));
		return { width: w, height: h, pixels: btoa(text) };
	}, fs.readFileSync(file, 'base64'));
	await page.close();
	fs.writeFileSync(file, reduced(width, height, Buffer.from(pixels, 'base64')));
}

const [, , , target, ...wanted] = process.argv;
const message = (subject, view = '') => `${daemon.web}m/${ids.get(subject)}?view=${view}`;
const views = {
	list: { url: daemon.web },
	html: { url: message('Confirm your address') },
	text: { url: message('Lunch on Thursday?') },
	log: { url: message(samples[5].subject) },
	headers: { url: message('Confirm your address', 'headers') },
	source: { url: message('Confirm your address', 'source') },
	attachments: { url: message('Your receipt for order 20261129', 'attachments') },
	marked: { url: daemon.web, prepare: async ({ keyboard }) => {
		for (const key of ['j', 'x', 'j', 'x']) await keyboard.press(key);
	} },
	help: { url: daemon.web, prepare: ({ keyboard }) => keyboard.press('?') },
	question: { url: daemon.web, prepare: (page) => page.getByRole('button', { name: 'Remove all' }).click() },
	nothing: { url: `${daemon.web}?q=zzz` },
	wrong: { url: `${daemon.web}?q=tag%3Ax` },
	gone: { url: `${daemon.web}m/nothing-00000001` },
	empty: { url: emptyDaemon.web },
};
if (target) {
	fs.mkdirSync(target, { recursive: true });
	for (const scheme of ['light', 'dark']) {
		for (const [width, height] of [[1280, 800], [360, 740]]) {
			for (const [name, view] of Object.entries(views)) {
				if (wanted.length && !wanted.includes(name)) continue;
				await shoot(path.join(target, `${name}-${scheme}-${width}.png`), { width, height, scheme, ...view });
			}
		}
	}
} else {
	await shoot(README, { width: 1280, height: 800, scheme: 'light', ...views.html });
	await reduce(README);
	console.log(`${README}: ${fs.statSync(README).size} octets`);
}
await browser.close();
for (const one of [daemon, emptyDaemon]) await one.stop();
for (const one of [directory, empty]) fs.rmSync(one, { recursive: true, force: true });
