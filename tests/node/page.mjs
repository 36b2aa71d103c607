// The page of the inbox in a browser: what people do with it, against a real facteur.
//
//     npm ci --prefix tests/node && node tests/node/page.mjs target/debug/facteur [WORD | --short]
//
// Each test below has a facteur of its own, which receives mail over SMTP, and a browser window
// without anything from before. With WORD, only tests with this word in their name run; --short
// leaves out the two longest. What is awaited is looked at again and again, until it is so or
// patience has ended.
//
// Needs Node.js, npm, curl and Chromium; CHROMIUM names it.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';

import { chromium } from 'playwright-core';

import { browser as browserOptions, dialogue, listen, newDirectory, programOf, start } from './daemon.mjs';
import { letter, samples, sent } from './mails.mjs';

const program = programOf();
const PATIENCE = 60000;
// Names that the browser finds at this machine: one that a developer may use, without the rights
// of localhost, one that anybody can buy, and one that points here all of a sudden.
const PLAIN = 'inbox.test';
const OTHER = 'other.example';
const REBOUND = 'rebound.example';
const args = [...browserOptions.args, `--host-resolver-rules=${[PLAIN, OTHER, REBOUND].map((name) => `MAP ${name} 127.0.0.1`).join()}`];
const axe = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let faults = 0;
let checks = 0;

/** Notes a fault unless `holds`. */
function check(holds, what) {
	checks += 1;
	if (!holds) throw new Error(what);
}

/** Waits until `probe()` is `expected`. */
async function is(expected, probe, what) {
	const wanted = JSON.stringify(expected);
	const end = Date.now() + PATIENCE;
	let found;
	checks += 1;
	do {
		found = JSON.stringify(await probe());
		if (found === wanted) return;
		await new Promise((done) => setTimeout(done, 20));
	} while (Date.now() < end);
	throw new Error(`${what}: ${found}, not ${wanted}`);
}

const api = async (daemon, call, options) => {
	const response = await fetch(daemon.web + call, options);
	if (!response.ok) throw new Error(`${call}: ${await response.text()}`);
	return response.headers.get('content-type')?.includes('json') ? response.json() : response.text();
};
const listed = (daemon) => api(daemon, 'api/v1/messages?limit=100');
const stored = async (daemon) => (await listed(daemon)).total;
const unread = async (daemon) => (await listed(daemon)).unread;
/** The ID of the message with this subject. */
const idOf = async (daemon, subject) => (await listed(daemon)).messages.find(({ Subject }) => Subject === subject).ID;
const simple = (subject, to = 'bob@example.com') => sent({ from: 'Eve <eve@example.org>', to: [to], subject, text: `${subject}.\n` });

/** What the page shows, as it is now. */
const look = (page) => ({
	subjects: () => page.locator('.row .subject').allInnerTexts(),
	first: () => page.evaluate(() => document.querySelector('.row .subject')?.textContent),
	rows: () => page.locator('.row').count(),
	text: (selector) => page.locator(selector).innerText(),
	count: (selector) => page.locator(selector).count(),
	visible: (selector) => page.locator(selector).isVisible(),
	title: () => page.title(),
	below: () => page.evaluate((root) => location.href.slice(root.length), rootOf(page)),
	open: () => page.evaluate(() => document.querySelector('#message-pane h1')?.textContent),
	current: () => page.evaluate(() => {
		const id = document.getElementById('list').getAttribute('aria-activedescendant');
		return document.getElementById(id)?.querySelector('.subject')?.textContent ?? null;
	}),
	focus: () => page.evaluate(() => {
		const { activeElement: it } = document;
		return it.id || it.getAttribute('aria-label') || it.textContent;
	}),
	copied: () => page.evaluate(() => navigator.clipboard.readText()),
	view: () => page.evaluate(() => new URL(location).searchParams.get('view')),
});
const roots = new WeakMap();
const rootOf = (page) => roots.get(page);

/** Opens a place below the root of a daemon or of a proxy, and waits for the list. */
async function visit(page, root, place = '') {
	roots.set(page, root);
	await page.goto(root + place);
	await is(true, () => page.evaluate(() => /full|none/.test(document.getElementById('app').dataset.list)), `${place} is listed`);
}

const tests = [];
const test = (name, task, options = {}) => tests.push({ name, task, ...options });
const SUBJECTS = samples.map(({ subject }) => subject ?? 'No subject').reverse();

/* Keys */

test('the keyboard alone reads, copies and goes back', async ({ page, daemon }) => {
	const see = look(page);
	await visit(page, daemon.web);
	await is(SUBJECTS, see.subjects, 'the list');
	await is('(10) facteur', see.title, 'the title');
	await page.keyboard.press('j');
	await is(SUBJECTS[0], see.current, 'j');
	await page.keyboard.press('j');
	await is(SUBJECTS[1], see.current, 'j again');
	await page.keyboard.press('k');
	await page.keyboard.press('Enter');
	await is('Confirm your address', see.open, 'Enter');
	await is('(9) Confirm your address – facteur', see.title, 'the title of a message');
	await is('message-pane', see.focus, 'focus');
	for (const [key, text] of [['c', '482913'], ['l', 'https://northwind.example/confirm?t=8Jx2'], ['y', 'bob@example.com']]) {
		await page.keyboard.press(key);
		await is(text, see.copied, `the copy of ${key}`);
	}
	for (const [key, view, inside] of [['t', 'text', '.text'], ['e', 'headers', 'table'], ['r', 'source', 'pre'], ['f', 'attachments', '.files'], ['h', 'html', 'iframe']]) {
		await page.keyboard.press(key);
		await is(1, () => see.count(`#panel ${inside}`), `the panel of ${key}`);
		await is('true', () => page.locator(`#${view}`).getAttribute('aria-selected'), `the tab of ${key}`);
	}
	for (const width of ['phone', 'tablet', 'full']) {
		await page.keyboard.press('w');
		await is('true', () => page.locator(`[name=${width}]`).getAttribute('aria-pressed'), `w to ${width}`);
	}
	check((await see.text('.view-bar')).includes('1 remote item not loaded'), 'remote things are counted');
	await page.keyboard.press('i');
	await is(true, async () => (await see.text('.view-bar')).includes('loaded'), 'i');
	await is(true, async () => (await page.locator('iframe').getAttribute('src')).endsWith('?remote=1'), 'the frame after i');
	await page.keyboard.press('j');
	await is('Lunch on Thursday?', see.open, 'j with an open message');
	await page.keyboard.press('c');
	await is('There is no code in this message.', () => see.text('#toast'), 'c without a code');
	await page.keyboard.press('u');
	await is('', see.below, 'u');
	await is('list', see.focus, 'focus after u');
	await is(SUBJECTS[1], see.current, 'the current row after u');
});

test('the keyboard alone marks and removes', async ({ page, daemon }) => {
	const see = look(page);
	const press = async (...keys) => {
		for (const key of keys) await page.keyboard.press(key);
	};
	await visit(page, daemon.web);
	await press('j', 'j', 'x', 'j', 'x');
	await is(true, async () => (await see.text('#list-actions')).includes('2 marked'), 'x');
	await press('#');
	await is(8, () => stored(daemon), '# with marked messages');
	await is([SUBJECTS[0], ...SUBJECTS.slice(3)], see.subjects, 'the list after #');
	await press('j', 'Enter');
	await is('message-pane', see.focus, 'an open message');
	const open = await see.open();
	await press('#');
	await is(7, () => stored(daemon), '# with an open message');
	await is('', see.below, 'the address after #');
	await is(false, async () => (await see.subjects()).includes(open), 'the message is listed');
	await press('a');
	await is(0, () => unread(daemon), 'a');
	await is(0, () => see.count('.row.unread'), 'bold rows after a');
	await is('facteur', see.title, 'the title after a');
	await press('k', 'm');
	await is(1, () => unread(daemon), 'm');
	await is('(1) facteur', see.title, 'the title after m');
	// All of a mailbox, from that one alone.
	await daemon.deliver([sent({ subject: 'To both', to: ['alice@example.com', 'bob@example.com'] })]);
	await is(8, see.rows, 'the rows with a new one');
	await press('g');
	await is(true, () => page.evaluate(() => document.activeElement.closest('nav') !== null), 'g');
	await is('All mail', () => page.evaluate(() => document.activeElement.querySelector('bdi').textContent), 'the mailbox at g');
	await press('Tab', 'Enter');
	await is('?mailbox=alice%40example.com', see.below, 'a mailbox');
	await is('alice@example.com', () => see.text('#list-title'), 'the title of a mailbox');
	const inBox = await api(daemon, 'api/mailboxes/alice@example.com');
	await is(inBox.messages_count, see.rows, 'the rows of a mailbox');
	await page.locator('[aria-label="Remove all"]').focus();
	await press('Enter');
	await is('Cancel', see.focus, 'the first button of the question');
	await press('Escape');
	await is(0, () => see.count('dialog'), 'Escape');
	check(await stored(daemon) === 8, 'Escape has removed something');
	await page.locator('[aria-label="Remove all"]').focus();
	await press('Enter', 'Tab', 'Enter');
	await is(true, async () => (await see.text('#list-state')).includes('Nothing in this mailbox'), 'all of a mailbox');
	const alone = inBox.messages.filter(({ Mailboxes }) => Mailboxes.length === 1).length;
	check(alone < inBox.messages_count, 'no message is in another mailbox, too');
	await is(8 - alone, () => stored(daemon), 'what is left, with the copies of others');
	// All.
	await press('g', 'Shift+Tab');
	await page.locator('nav a').first().focus();
	await press('Enter');
	await is('', see.below, 'all mail');
	await is(8 - alone, see.rows, 'the rows of all mail');
	await page.locator('[aria-label="Remove all"]').focus();
	await press('Enter', 'Tab', 'Enter');
	await is(0, () => stored(daemon), 'all');
	await is(true, async () => (await see.text('#list-state')).includes('No mail yet'), 'the empty list');
}, {
	// The message may be removed while its frame loads, and then the frame gets the refusal.
	expected: /^Framing .* "frame-ancestors 'none'"/,
});

test('new mail does not hide what is wrong with a search', async ({ page, daemon }) => {
	const see = look(page);
	await visit(page, daemon.web, '?q=from%3Anorthwind');
	await is(3, see.rows, 'what is found');
	let isFirst = true;
	await page.route(/tag%3Ax/, async (route) => {
		if (!isFirst) return route.continue();
		// This answer never comes: the list is asked for again because of the mail.
		isFirst = false;
		return daemon.deliver([simple('New')]);
	});
	await page.keyboard.press('/');
	await page.keyboard.press('End');
	await page.keyboard.type(' tag:x');
	await is(true, async () => (await see.text('#search-error')).length > 10, 'a search that is none');
	await is(0, see.rows, 'the rows of a search that is none');
});

test('the keyboard alone searches, asks for help and reaches everything', async ({ page, daemon }) => {
	const see = look(page);
	await visit(page, daemon.web);
	await page.keyboard.press('/');
	await is('search', see.focus, '/');
	await page.keyboard.type('from:northwind');
	await is('?q=from%3Anorthwind', see.below, 'the address of a search');
	await is(3, see.rows, 'what is found');
	await page.keyboard.type(' tag:x');
	await is(true, async () => (await see.text('#search-error')).length > 10, 'a search that is none');
	await is(0, see.rows, 'the rows of a search that is none');
	await page.keyboard.press('ControlOrMeta+a');
	await page.keyboard.type('zzz');
	await is(true, async () => (await see.text('#list-state')).includes('Nothing matches'), 'nothing found');
	await is('', () => see.text('#search-error'), 'the error is gone');
	await page.keyboard.press('ControlOrMeta+a');
	await page.keyboard.press('Backspace');
	await is('', see.below, 'the address without a search');
	await is(10, see.rows, 'the list without a search');
	await page.keyboard.press('Escape');
	await is('list', see.focus, 'Escape');
	await page.keyboard.press('?');
	await is('Keys', () => see.text('dialog h2 >> nth=0'), '?');
	await is('Close', see.focus, 'focus in the sheet');
	const current = await see.current();
	await page.keyboard.press('j');
	check(await see.current() === current, 'j in the sheet has moved');
	await page.keyboard.press('Shift+Tab');
	await page.keyboard.press('Space');
	await page.keyboard.press('Escape');
	await is(0, () => see.count('dialog'), 'the sheet is shut');
	await page.keyboard.press('?');
	check(await see.count('dialog') === 0, 'a letter that is no key has opened the sheet');
	await page.locator('#list').focus();
	await page.keyboard.press('ArrowDown');
	await is(SUBJECTS[1], see.current, 'arrows without letters');
	await page.reload();
	await page.locator('#help').press('Enter');
	await is(false, () => page.locator('dialog input').isChecked(), 'letters stay off');
	await page.locator('dialog input').check();
	await page.keyboard.press('Escape');
	// The order of the focus.
	await visit(page, daemon.web, `m/${await idOf(daemon, 'Confirm your address')}`);
	await is('Confirm your address', see.open, 'a message');
	await page.evaluate(() => document.activeElement.blur());
	const reached = [];
	for (let step = 0; step < 40; step += 1) {
		await page.keyboard.press('Tab');
		reached.push(await see.focus());
	}
	const order = ['name', 'search', 'help', 'Mark all read', 'Remove all', 'list', 'Address', 'Code 482913', 'Link', 'Download', 'Mark unread', 'Remove', 'html', 'Load', 'Phone', 'Full'];
	const places = order.map((one) => reached.indexOf(one));
	check(places.every((place, index) => place > (places[index - 1] ?? -1)), `the order of the focus: ${reached.join(', ')}`);
	await page.locator('#html').focus();
	for (const view of ['text', 'headers', 'source', 'attachments', 'html', 'text']) {
		await page.keyboard.press('ArrowRight');
		await is(view, see.view, 'the arrow to the next tab');
	}
});

/* Addresses */

test('each view has an address', async ({ page, daemon }) => {
	const see = look(page);
	await visit(page, daemon.web, '?mailbox=bob%40example.com');
	const rows = (await api(daemon, 'api/mailboxes/bob@example.com')).messages_count;
	await is(rows, see.rows, 'a mailbox by its address');
	await page.locator('.row').first().click();
	await is('Confirm your address', see.open, 'a click');
	await page.locator('#text').click();
	await is(`m/${await idOf(daemon, 'Confirm your address')}?view=text&mailbox=bob%40example.com`, see.below, 'the address of a view');
	await page.reload();
	await is(1, () => see.count('.text'), 'the view after a reload');
	await is(rows, see.rows, 'the list after a reload');
	await is(1, () => see.count('.row[aria-current=true]'), 'the open row after a reload');
	await page.goBack();
	await is(1, () => see.count('.nothing'), 'back');
	await is(rows, see.rows, 'the list after back');
	await page.goForward();
	await is(1, () => see.count('.text'), 'forward');
	await page.locator('#name').click();
	await is('', see.below, 'the name');
	await is(10, see.rows, 'all mail');
	// A mailbox is that one alone, also in a search.
	await daemon.deliver([simple('Twin of Bob'), simple('Twin of another', 'big-bob@example.com')]);
	await visit(page, daemon.web, '?mailbox=bob%40example.com&q=twin');
	await is(['Twin of Bob'], see.subjects, 'a search in a mailbox');
	await page.getByRole('button', { name: 'Remove all that were found' }).click();
	await page.locator('dialog .danger').click();
	await is(0, see.rows, 'what is found after all of it was removed');
	await is(1, async () => (await api(daemon, 'api/v1/search?query=twin')).messages_count, 'the twin of another');
	await visit(page, daemon.web, '?q=subject%3Areceipt');
	await is(['Your receipt for order 20261129'], see.subjects, 'a search by its address');
	await is('subject:receipt', () => page.locator('#search').inputValue(), 'the words of a search by its address');
	await visit(page, daemon.web, `m/${await idOf(daemon, 'Your receipt for order 20261129')}?view=attachments`);
	await is(2, () => see.count('.files li'), 'attachments by their address');
	const [download] = await Promise.all([page.waitForEvent('download'), page.locator('.files a').first().click()]);
	check(download.suggestedFilename() === 'receipt-20261129.pdf' && fs.statSync(await download.path()).size === 48213, 'an attachment');
	for (const [label, name] of [['Message (.eml)', '.eml'], ['HTML', '.html'], ['Text', '.txt']]) {
		await page.locator('summary').click();
		const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: label, exact: true }).click()]);
		check(file.suggestedFilename() === `Your receipt for order 20261129${name}`, `${label}: ${file.suggestedFilename()}`);
	}
	await visit(page, daemon.web, 'm/nothing-00000001');
	await is('This message is no longer here', see.open, 'a message that is not there');
	await page.getByRole('button', { name: 'Back to the list' }).click();
	await is('', see.below, 'back from nothing');
});

/* Live */

/**
 * A proxy that serves a daemon below a prefix, and counts the streams of events. Only what begins
 * with the prefix is served: all addresses have to be relative.
 */
async function proxyOf(daemon) {
	const prefix = '/mail/inbox/';
	const streams = new Set();
	const server = http.createServer((request, response) => {
		const fail = () => response.destroy();
		if (!request.url.startsWith(prefix)) return response.writeHead(404).end();
		const { method, headers } = request;
		const onward = http.request(daemon.web + request.url.slice(prefix.length), { method, headers }, (answer) => {
			response.writeHead(answer.statusCode, answer.headers);
			answer.pipe(response).on('error', fail);
			answer.on('error', fail);
		}).on('error', fail);
		if (request.url.endsWith('/api/events')) streams.add(response);
		response.on('close', () => {
			streams.delete(response);
			onward.destroy();
		});
		return request.pipe(onward);
	});
	return { root: `http://127.0.0.1:${await listen(server)}${prefix}`, streams: () => streams.size, end: () => server.closeAllConnections() };
}

const setHidden = (page, isHidden) => page.evaluate((value) => {
	Object.defineProperty(document, 'hidden', { value, configurable: true });
	document.dispatchEvent(new Event('visibilitychange'));
}, isHidden);

test('what happens is seen in seven tabs over one stream, and in no hidden one', async ({ page, daemon, context }) => {
	const proxy = await proxyOf(daemon);
	const tabs = [page];
	while (tabs.length < 7) tabs.push(await context.newPage());
	for (const tab of tabs) await visit(tab, proxy.root);
	await is(1, proxy.streams, 'streams of seven tabs');
	await daemon.deliver([simple('To all tabs')]);
	for (const tab of tabs) await is('To all tabs', look(tab).first, 'a mail in each tab');
	check(proxy.streams() === 1, 'more than one stream');
	await is('(11) facteur', look(tabs[6]).title, 'the title of the last tab');
	// Reading and removing are seen by the others, too.
	await tabs[3].locator('.row').first().click();
	for (const tab of tabs) await is(false, () => tab.locator('.row').first().evaluate((row) => row.classList.contains('unread')), 'read in another tab');
	const { say, end } = await dialogue(daemon.port('pop3'), /^(\+OK|-ERR)[^\n]*\n/);
	await say('', '+OK');
	for (const line of ['USER bob@example.com', 'PASS any']) await say(`${line}\r\n`, '+OK');
	const number = /(\d+) messages/.exec(await say('NOOP\r\n', '+OK'))?.[1] ?? (await say('STAT\r\n', '+OK')).split(' ')[1];
	await say(`DELE ${number}\r\n`, '+OK');
	await say('QUIT\r\n', '+OK');
	end();
	for (const tab of tabs) await is(SUBJECTS[0], look(tab).first, 'removed over POP3');
	await is('This message was removed. This is the last you see of it.', () => look(tabs[3]).text('.notice'), 'the open message is removed');
	await api(daemon, 'api/v1/messages', { method: 'DELETE', body: JSON.stringify({ IDs: [await idOf(daemon, SUBJECTS[0])] }) });
	for (const tab of tabs) await is(SUBJECTS[1], look(tab).first, 'removed by the API');
	// The tab that holds the stream goes away; then all are hidden.
	await page.close();
	await is(1, proxy.streams, 'streams after the first tab');
	await daemon.deliver([simple('To six tabs')]);
	for (const tab of tabs.slice(1)) await is('To six tabs', look(tab).first, 'a mail in the tabs that are left');
	for (const tab of tabs.slice(1)) await setHidden(tab, true);
	await is(0, proxy.streams, 'streams of hidden tabs');
	await daemon.deliver([simple('To nobody')]);
	await setHidden(tabs[1], false);
	await is('To nobody', look(tabs[1]).first, 'what came meanwhile');
	await is(1, proxy.streams, 'streams of the tab that is seen');
	// Everything was below the prefix.
	await tabs[1].locator('.row').first().click();
	await is('To nobody', look(tabs[1]).open, 'a message below the prefix');
	check(tabs[1].url().startsWith(`${proxy.root}m/`), tabs[1].url());
	proxy.end();
});

test('a daemon that is lost comes back', async ({ page, daemon, restart }) => {
	const see = look(page);
	await visit(page, daemon.web);
	await is(10, see.rows, 'the list');
	await daemon.stop();
	await is(true, async () => (await see.text('#lost')).includes('No connection'), 'the line at the top');
	check(await see.rows() === 10, 'the rows have gone');
	await page.locator('.row').nth(1).click();
	await is('This message cannot be shown', see.open, 'a message without a daemon');
	const next = await restart();
	// It may have come back by itself meanwhile.
	await page.evaluate(() => document.querySelector('#lost button')?.click());
	await is('', () => see.text('#lost'), 'the line is gone');
	await page.getByRole('button', { name: 'Try again' }).click();
	await is('Lunch on Thursday?', see.open, 'the message after the return');
	await next.deliver([simple('After the return')]);
	await is('After the return', see.first, 'a mail after the return');
	// Without a click it comes back, too.
	await next.stop();
	await is(true, async () => (await see.text('#lost')).includes('No connection'), 'the line again');
	const last = await restart();
	await is('', () => see.text('#lost'), 'the line goes by itself');
	await last.deliver([simple('After another return')]);
	await is('After another return', see.first, 'a mail after another return');
});

test('without locks the page asks', async ({ page, daemon, asked }) => {
	const see = look(page);
	await visit(page, daemon.web.replace('127.0.0.1', PLAIN));
	check(await page.evaluate(() => navigator.locks === undefined), 'there are locks');
	await is(10, see.rows, 'the list');
	await daemon.deliver([simple('Asked for')]);
	await is('Asked for', see.first, 'a mail');
	check(!asked.some((url) => url.includes('/events')), 'there is a stream');
	await page.keyboard.press('j');
	await page.keyboard.press('Enter');
	await is('Asked for', see.open, 'a message');
	await page.keyboard.press('y');
	await is('Copied bob@example.com', () => see.text('#toast'), 'a copy without the rights of localhost');
});

/* Much, nothing, little */

const MANY = 100000;

test('a hundred thousand messages scroll', async ({ page, daemon, asked }) => {
	const see = look(page);
	const box = path.join(daemon.mail, 'example.com', 'many');
	for (const name of ['tmp', 'new', 'cur']) fs.mkdirSync(path.join(box, name), { recursive: true, mode: 0o700 });
	const now = Math.floor(Date.now() / 1000);
	for (let number = 1; number <= MANY; number += 1) {
		const file = path.join(box, 'new', `${now}.${number}.many`);
		fs.writeFileSync(file, `From: Many <many@example.org>\nSubject: Number ${number}\n\nThis is number ${number}.\n`, { mode: 0o600 });
		fs.utimesSync(file, now, now - MANY + number);
	}
	await is(MANY, () => stored(daemon), 'all are listed');
	const url = `${daemon.web}api/v1/messages?limit=300`;
	const times = Array.from({ length: 5 }, () => Number(execFileSync('curl', ['-s', '-o', '/dev/null', '-w', '%{time_total}', url])));
	console.log(`  ${MANY} messages: a window of 300 takes ${Math.round(Math.min(...times) * 1000)} ms`);
	await visit(page, daemon.web);
	await is(`Number ${MANY}`, see.first, 'the first one');
	check(await see.rows() < 60, `${await see.rows()} rows`);
	await is(String(MANY), () => page.locator('.row').first().getAttribute('aria-setsize'), 'the size of the list');
	await page.locator('#list').focus();
	await page.keyboard.press('End');
	await is('Number 1', see.current, 'End');
	await is(String(MANY), () => page.locator('.row.current').getAttribute('aria-posinset'), 'the place of the last one');
	for (let step = 0; step < 30; step += 1) await page.keyboard.press('ArrowUp');
	await is('Number 31', see.current, 'thirty rows up');
	// What arrives does not move what is looked at.
	await page.evaluate(() => (document.getElementById('list').scrollTop = 3e6));
	const inSight = () => page.evaluate(() => {
		const { top } = document.getElementById('list').getBoundingClientRect();
		const rows = [...document.querySelectorAll('.row:not(.current)')];
		return rows.find((row) => row.getBoundingClientRect().top >= top - 1)?.querySelector('.subject')?.textContent ?? null;
	});
	const above = await page.evaluate(() => Math.ceil(3e6 / document.querySelector('.row').offsetHeight));
	const before = `Number ${MANY - above}`;
	await is(before, inSight, 'rows in the middle');
	await daemon.deliver([simple('New one'), simple('Another new one')]);
	await is(`${(MANY + 2).toLocaleString('en')} messages, ${(MANY + 2).toLocaleString('en')} unread`, () => see.text('#list-count'), 'the count');
	await is(before, inSight, 'what is looked at');
	await is('Number 31', see.current, 'the current row');
	// A fast way through all of them asks for few windows.
	asked.length = 0;
	await page.evaluate(async () => {
		const list = document.getElementById('list');
		for (let step = 0; step <= 100; step += 1) {
			list.scrollTop = step * list.scrollHeight / 100;
			await new Promise(requestAnimationFrame);
		}
	});
	await is('Number 1', async () => (await see.subjects()).at(-1), 'the end after a fast way');
	const windows = asked.filter((one) => one.includes('api/v1/messages?')).length;
	check(windows <= 30, `${windows} windows were asked for`);
	await page.evaluate(() => (document.getElementById('list').scrollTop = 0));
	await is('Another new one', see.first, 'the top');
}, { mails: [] });

test('an empty inbox says how to send', async ({ page, daemon }) => {
	const see = look(page);
	await visit(page, daemon.web);
	await page.getByRole('button', { name: 'Copy: With curl' }).click();
	await is(true, async () => (await see.copied()).includes(`smtp://127.0.0.1:${daemon.port('smtp')}`), 'the command');
	// What it says is true.
	execFileSync('sh', ['-c', await see.copied()], { stdio: 'ignore' });
	await is('Hello', see.first, 'the first message');
	await is('', () => see.text('#list-state'), 'the words are gone');
}, { mails: [] });

test('without scripts one can read', async ({ page, daemon }) => {
	await page.goto(daemon.web);
	check(await page.locator('#app').isHidden(), 'an empty page is shown');
	await is(10, () => page.locator('.plain a[href^="m/"]').count(), 'the list');
	await page.getByRole('link', { name: 'Confirm your address' }).click();
	await is(true, async () => (await page.locator('.plain').innerText()).includes('Your code is 482913'), 'the text');
	const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download' }).click()]);
	check(fs.statSync(await download.path()).size > 1000, 'the download');
	await page.goto(daemon.web);
	await page.locator('input[name=q]').fill('subject:lunch');
	await page.keyboard.press('Enter');
	await is(1, () => page.locator('.plain a[href^="m/"]').count(), 'a search');
}, { javaScriptEnabled: false });

test('a narrow window has nothing at its side', async ({ page, daemon }) => {
	const see = look(page);
	const fits = async (what) => check(await page.evaluate(() => ['message-pane', 'list-pane', 'list', 'panel'].every((id) => {
		const it = document.getElementById(id);
		return !it || it.scrollWidth <= it.clientWidth;
	}) && document.documentElement.scrollWidth <= 360), `${what} is too wide`);
	await visit(page, daemon.web);
	await fits('the list');
	check(!(await see.visible('#message-pane')), 'two panes');
	await page.locator('#menu').click();
	await is(true, () => see.visible('nav a >> nth=2'), 'the mailboxes');
	await fits('the mailboxes');
	await page.locator('nav a', { hasText: 'bob@example.com' }).click();
	await is(false, () => see.visible('nav'), 'the mailboxes are shut');
	await is('bob@example.com', () => see.text('#list-title'), 'a mailbox');
	for (const { subject } of samples.filter(({ subject: one }) => one)) {
		const id = await idOf(daemon, subject);
		for (const view of ['html', 'text', 'headers', 'source', 'attachments']) {
			await visit(page, daemon.web, `m/${id}?view=${view}`);
			await is(true, () => page.evaluate(() => Boolean(document.getElementById('panel')?.firstChild)), `${view} of ${subject}`);
			await fits(`${view} of ${subject}`);
		}
	}
	check(!(await see.visible('#list')), 'the list is in front');
	await page.getByRole('button', { name: 'Back to the list' }).click();
	await is(true, () => see.visible('#list'), 'back');
	await page.keyboard.press('?');
	await is(1, () => see.count('dialog'), 'the sheet');
	await fits('the sheet');
	await page.keyboard.press('Escape');
	await page.keyboard.press('g');
	await is(true, () => see.visible('nav'), 'g');
	await page.keyboard.press('Escape');
	await is(false, () => see.visible('nav'), 'Escape');
}, { viewport: { width: 360, height: 740 } });

/* For everybody */

for (const colorScheme of ['light', 'dark']) {
	test(`axe finds nothing in ${colorScheme}`, async ({ page, daemon }) => {
		const see = look(page);
		const run = async (what) => {
			await page.evaluate((source) => globalThis.axe || (0, eval)(source), axe);
			const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'], iframes: false }));
			const words = violations.map(({ id, help, nodes }) => `${id} (${help}): ${nodes.map(({ target }) => target).join(' ')}`);
			check(!words.length, `${what}: ${words.join('; ')}`);
		};
		const [rich, long] = [await idOf(daemon, 'Confirm your address'), await idOf(daemon, SUBJECTS[4])];
		const views = ['html', 'text', 'headers', 'source', 'attachments'].map((view) => `m/${rich}?view=${view}`);
		const places = ['', ...views, '?q=zzz', '?q=tag%3Ax', 'm/nothing-00000001', `m/${long}?view=text`];
		for (const [width, height] of [[1400, 900], [360, 740]]) {
			await page.setViewportSize({ width, height });
			for (const place of places.slice(0, width > 400 ? undefined : 4)) {
				await visit(page, daemon.web, place);
				await is(true, () => page.evaluate(() => Boolean(document.querySelector('#panel > *, .nothing'))), place);
				await run(`${place} at ${width}`);
			}
			await visit(page, daemon.web, views[0]);
			await page.locator('summary').click();
			await run(`the downloads at ${width}`);
			await visit(page, daemon.web);
			await page.keyboard.press('j');
			await page.keyboard.press('x');
			await run(`a marked row at ${width}`);
			await page.keyboard.press('?');
			await run(`help at ${width}`);
			await page.keyboard.press('Escape');
			await page.keyboard.press('Escape');
			await page.getByRole('button', { name: 'Remove all' }).click();
			await run(`a question at ${width}`);
			await page.keyboard.press('Escape');
			if (width > 400) continue;
			await page.locator('#menu').click();
			await run(`the mailboxes at ${width}`);
		}
		await visit(page, daemon.web);
		await daemon.stop();
		await is(true, async () => (await see.text('#lost')).includes('No connection'), 'the line at the top');
		await run('a lost daemon');
	}, { colorScheme, bypassCSP: true });

	test(`axe finds nothing in ${colorScheme} without mail`, async ({ page, daemon }) => {
		await visit(page, daemon.web);
		await page.evaluate((source) => (0, eval)(source), axe);
		const { violations } = await page.evaluate(() => globalThis.axe.run(document));
		check(!violations.length, violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target)}`).join('; '));
	}, { colorScheme, bypassCSP: true, mails: [] });
}

/* Against other pages */

/** What a page of another origin tries: with each way, what came of it. */
async function tries({ root, id, part }) {
	const event = (element, url, place = 'src') => new Promise((done) => {
		element.onload = () => done('loaded');
		element.onopen = () => done('loaded');
		element.onerror = () => done('refused');
		element[place] = url;
		if (element.tagName) document.body.append(element);
	});
	const fetched = (url, options) => fetch(url, options).then(
		async (response) => (response.type === 'opaque' ? 'nothing' : `${response.status} ${await response.text()}`), () => 'refused');
	const calls = ['api/v1/messages', `api/v1/message/${id}`, `api/v1/message/${id}/raw`, 'api/mailboxes', `m/${id}`, `m/${id}/html`, ''];
	const results = {};
	for (const call of calls) {
		results[`fetch ${call}`] = await fetched(root + call);
		results[`no-cors ${call}`] = await fetched(root + call, { mode: 'no-cors' });
		results[`script ${call}`] = await event(document.createElement('script'), root + call);
		results[`img ${call}`] = await event(new Image(), root + call);
		const frame = document.createElement('iframe');
		await event(frame, root + call);
		results[`frame ${call}`] = frame.contentDocument ? 'readable' : 'refused';
	}
	results.part = await event(new Image(), `${root}m/${id}/part/${part}`);
	results.style = await event(Object.assign(document.createElement('link'), { rel: 'stylesheet' }), `${root}assets/style.css`, 'href');
	const stream = new EventSource(`${root}api/events`);
	results.stream = await new Promise((done) => {
		stream.onopen = () => done('loaded');
		stream.onerror = () => done('refused');
	});
	stream.close();
	for (const method of ['DELETE', 'PUT', 'POST']) {
		const body = JSON.stringify({ IDs: [id], Read: true });
		results[`${method} messages`] = await fetched(`${root}api/v1/messages`, { method, body });
		results[`simple ${method}`] = await fetched(`${root}api/v1/messages`, { method: 'POST', body, mode: 'no-cors', headers: { 'X-HTTP-Method-Override': method } });
	}
	results['DELETE search'] = await fetched(`${root}api/v1/search?query=is:unread`, { method: 'DELETE' });
	for (const method of ['get', 'post']) {
		for (const call of [`api/v1/message/${id}`, 'api/v1/messages', 'api/v1/search?query=x', `m/${id}`]) {
			const name = `frame-${method}-${call.length}`;
			const frame = Object.assign(document.createElement('iframe'), { name });
			document.body.append(frame);
			const form = Object.assign(document.createElement('form'), { action: root + call, method, target: name, enctype: 'text/plain' });
			form.append(Object.assign(document.createElement('input'), { name: `{"IDs":["${id}"],"x":"`, value: '"}' }));
			document.body.append(form);
			const loaded = new Promise((done) => (frame.onload = done));
			form.submit();
			await loaded;
			results[`form ${method} ${call}`] = frame.contentDocument?.body.textContent ? 'readable' : 'refused';
		}
	}
	const beacon = navigator.sendBeacon(`${root}api/v1/messages`, '{}');
	results.beacon = beacon ? 'nothing' : 'refused';
	return results;
}

test('pages of other origins read and change nothing', async ({ page, context, daemon }) => {
	const subject = 'Your receipt for order 20261129';
	const id = await idOf(daemon, subject);
	const before = await listed(daemon);
	const other = http.createServer((request, response) => response.setHeader('Content-Type', 'text/html').end('<!DOCTYPE html><body>other'));
	const port = await listen(other);
	const { Attachments: [{ PartID: part }] } = await api(daemon, `api/v1/message/${id}`);
	await api(daemon, 'api/v1/messages', { method: 'PUT', body: JSON.stringify({ IDs: [id], Read: false }) });
	for (const host of ['127.0.0.1', 'localhost', OTHER]) {
		await page.goto(`http://${host}:${port}/`);
		const results = await page.evaluate(tries, { root: daemon.web, id, part });
		for (const [way, result] of Object.entries(results)) check(['refused', 'nothing'].includes(result), `${host}: ${way}: ${result}`);
		// A link opens our page, in which the other one cannot look.
		const [popup] = await Promise.all([page.waitForEvent('popup'), page.evaluate((url) => {
			globalThis.opened = open(url);
		}, daemon.web)]);
		await is(10, look(popup).rows, 'the list behind a link');
		check(await page.evaluate(() => {
			try {
				return globalThis.opened === null || globalThis.opened.closed || !globalThis.opened.document;
			} catch {
				return true;
			}
		}), 'the window of a link can be read');
		check(await popup.evaluate(() => opener === null), 'our page knows who has opened it');
		await popup.close();
		// A visit to anything else is refused.
		const visitor = await context.newPage();
		await visitor.goto(page.url());
		const visited = visitor.waitForResponse((response) => response.url().endsWith('/headers'));
		await visitor.evaluate((url) => {
			location = url;
		}, `${daemon.web}api/v1/message/${id}/headers`);
		check((await visited).status() === 403, `${host}: a visit to the API is answered`);
		await visitor.close();
	}
	const after = await listed(daemon);
	check(JSON.stringify(after.messages) === JSON.stringify(before.messages) && after.unread === before.unread, 'something has changed');
	// The same page of ours may.
	await visit(page, daemon.web);
	const results = await page.evaluate(tries, { root: daemon.web, id, part }).catch((error) => ({ error: error.message }));
	check(Object.values(results).some((result) => result.startsWith('200')), `our own page: ${JSON.stringify(results)}`);
});

test('a name that points here all of a sudden gets 421', async ({ page, daemon }) => {
	for (const place of ['', 'api/v1/messages', 'assets/app.js']) {
		const response = await page.goto(`${daemon.web.replace('127.0.0.1', REBOUND)}${place}`);
		check(response.status() === 421, `${place}: ${response.status()}`);
		check((await response.text()).includes('http_names'), `${place}: the key is not named`);
	}
	const response = await page.goto(daemon.web.replace('127.0.0.1', 'localhost'));
	check(response.status() === 200, `localhost: ${response.status()}`);
});

/* All of them */

/** What a browser says that it should not; refusals are part of some tests. */
const isHarmless = (text) => /Failed to load resource|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|"img-src data:"/.test(text);

async function run(browser, { name, task, mails = samples, expected = /^$/, ...options }) {
	const directory = newDirectory();
	const asked = [];
	const said = [];
	const daemons = [];
	const begin = async (where) => {
		daemons.push(await start(program, directory, where));
		return daemons.at(-1);
	};
	const rights = options.javaScriptEnabled === false ? {} : { permissions: ['clipboard-read', 'clipboard-write'] };
	const context = await browser.newContext({ viewport: { width: 1300, height: 1200 }, ...rights, ...options });
	context.setDefaultTimeout(PATIENCE);
	context.on('request', (request) => asked.push(request.url()));
	context.on('console', (message) => {
		if (['error', 'warning'].includes(message.type()) && message.page()?.url().startsWith(daemons[0].web) && !isHarmless(message.text()) && !expected.test(message.text())) said.push(message.text());
	});
	context.on('weberror', (error) => said.push(error.error().stack));
	const began = Date.now();
	try {
		const daemon = await begin();
		await daemon.deliver(mails.map(sent));
		const page = await context.newPage();
		await task({ page, context, daemon, asked, restart: () => begin(`127.0.0.1:${daemon.port('http')}`) });
		if (!name.includes('other origins')) check(!said.length, `the browser says: ${said.join('; ')}`);
		console.log(`${name}: ok, ${((Date.now() - began) / 1000).toFixed(1)} s`);
	} catch (error) {
		faults += 1;
		console.log(`${name}: FAILED: ${error.stack}`);
	}
	await context.close();
	for (const daemon of daemons) await daemon.stop();
	fs.rmSync(directory, { recursive: true, force: true });
}

const word = process.argv[3] ?? '';
const LONGEST = ['a hundred thousand messages scroll', 'axe finds nothing in dark'];
const isWanted = ({ name }) => (word === '--short' ? !LONGEST.includes(name) : name.includes(word));
const browser = await chromium.launch({ ...browserOptions, args });
const waiting = tests.filter(isWanted);
// A browser waits most of the time.
await Promise.all([0, 1, 2].map(async () => {
	for (let next = waiting.shift(); next; next = waiting.shift()) await run(browser, next);
}));
await browser.close();
console.log(faults ? `${faults} tests have failed` : `${checks} checks: all is well`);
process.exit(faults ? 1 : 0);
