// Hostile mails in a browser: whatever their HTML says, nothing of it runs, and nothing is loaded.
//
//     npm ci --prefix tests/node && node tests/node/isolation.mjs target/debug/facteur
//
// A facteur without a configuration receives the mails below over SMTP. Chromium opens each of them
// as a document of its own and in the pane of the page, while a trap counts the connections to it,
// and the log of the browser's network says which names were looked up: both must be none. With
// remote content, only pictures, styles, fonts and media may be asked for. A document must be laid
// out in the same mode (compatMode) as its HTML without the changes of facteur, and its pictures by
// cid: must be shown. First the trap must notice a page that is not isolated.
//
// Needs Node.js, npm and Chromium; CHROMIUM names it.

import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';

import { chromium } from 'playwright-core';

import { browser as browserOptions, listen, newDirectory, programOf, start } from './daemon.mjs';

// Mails name the one, and the page that is not isolated the other.
const NAME = 'trap.example';
const CONTROL = 'control.example';
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
// Chromium connects a moment after it has read a tag.
const MOMENT = 200;

const faults = [];
const check = (holds, what) => holds || faults.push(what);
const entities = (text) => [...text].map((c) => `&#${c.codePointAt()};`).join('');
const utf16 = (text) => Buffer.from(`\ufeff${text}`, 'utf16le');

/* The trap */

const caught = [];
const trap = net.createServer((socket) => {
	caught.push('');
	const index = caught.length - 1;
	socket.on('error', () => {});
	socket.once('data', (octets) => {
		caught[index] = octets.toString('latin1').split(' ')[1] ?? '';
		socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
	});
});
const address = `127.0.0.1:${await listen(trap)}`;

/* The mails: their HTML, with the address of the trap. */

const mailsFor = (T) => {
	const frame = `<iframe src="${T}frame"></iframe>`;
	return {
		script: `<script>fetch("${T}")</script><script src="${T}"></script><script type=module>import "${T}"</script>`,
		handlers: `<img src=x onerror="fetch('${T}')"><svg onload="fetch('${T}')"><body onload="location='${T}'"><input autofocus onfocus="location='${T}'"><details open ontoggle="fetch('${T}')">`,
		javascript: `<iframe src="javascript:fetch('${T}')"></iframe><a href="javascript:fetch('${T}')">x</a>`,
		refresh: `<meta http-equiv=refresh content="0;url=${T}">`,
		refreshEntity: `<meta http-equiv="&#114;efresh" content="0;${T}">`,
		form: `<form action="${T}" id=f><input autofocus type=submit formaction="${T}"></form>`,
		base: `<base href="${T}"><img src=x><link rel=stylesheet href=y>`,
		svg: `<svg><image href="${T}"/><use href="${T}#x"/><feImage href="${T}"/><script href="${T}"/></svg>`,
		svgForeign: `<svg><foreignObject>${frame}</foreignObject></svg>`,
		svgData: `<img src="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'%3E%3Cimage href='${T}'/%3E%3C/svg%3E">`,
		css: `<style>@import "${T}"; body{background:url(${T})} @font-face{font-family:x;src:url(${T})} *{font-family:x;cursor:url(${T}),auto;list-style:url(${T})}</style>x`,
		cssAttribute: `<p style="background:url(${T});border-image:url(${T})">x<p style="content:image-set('${T}' 1x)">`,
		img: `<img src="${T}"><img srcset="${T} 1x"><picture><source srcset="${T}"><img></picture><img src="${T.slice(5)}">`,
		imgLazy: `<img loading=eager fetchpriority=high src="${T}"><img lowsrc="${T}" dynsrc="${T}">`,
		input: `<input type=image src="${T}"><table background="${T}"><tr><td background="${T}"></table>`,
		body: `<body background="${T}" profile="${T}">`,
		object: `<object data="${T}"></object><object data="data:text/html,<img src=${T}>"></object>`,
		embed: `<embed src="${T}"><applet code="${T}" archive="${T}"></applet>`,
		video: `<video src="${T}" poster="${T}" autoplay></video><audio src="${T}" autoplay></audio><video><source src="${T}"><track default src="${T}"></video>`,
		ping: `<a href="${T}" ping="${T}">x</a>`,
		preconnect: `<link rel=preconnect href="${T}"><link rel="preconnect" crossorigin href="${T}">`,
		prefetch: `<link rel=prefetch href="${T}"><link rel=prerender href="${T}"><link rel=next href="${T}">`,
		dns: `<meta http-equiv=x-dns-prefetch-control content=on><link rel=dns-prefetch href="${T.slice(5)}"><a href="${T}">x</a>`,
		preload: `<link rel=preload as=image href="${T}"><link rel=preload as=image imagesrcset="${T} 1x"><link rel=modulepreload href="${T}">`,
		stylesheet: `<link rel=stylesheet href="${T}"><link rel="alternate stylesheet" href="${T}">`,
		icon: `<link rel="icon" href="${T}"><link rel=apple-touch-icon href="${T}"><link rel=manifest href="${T}">`,
		speculation: `<script type=speculationrules>{"prefetch":[{"source":"list","urls":["${T}"]}]}</script>`,
		importmap: `<script type=importmap>{"imports":{"x":"${T}"}}</script><script type=module>import "x"</script>`,
		report: `<meta http-equiv=content-security-policy content="img-src 'none'; report-uri ${T}"><img src=${T}>`,
		acceptCh: `<meta http-equiv=accept-ch content="dpr"><meta http-equiv=delegate-ch content="dpr ${T}"><meta name=referrer content=unsafe-url><img src="${T}">`,
		cookie: `<meta http-equiv=set-cookie content="a=b"><html manifest="${T}">`,
		portal: `<portal src="${T}"></portal><fencedframe src="${T}"></fencedframe><webview src="${T}"></webview>`,
		xml: `<?xml-stylesheet href="${T}"?><?import href="${T}"?>x`,
		math: `<math><mi href="${T}" xlink:href="${T}">x</mi><annotation-xml encoding="text/html"><iframe src="${T}"></iframe></annotation-xml></math>`,
		frame,
		frameUpper: `<IFRAME SRC=${T}></IFRAME>`,
		frameSlash: `<iframe/src=${T}></iframe><iframe//src=${T}></iframe>`,
		frameSpaces: `<iframe\n\tsrc\n=\n${T}\n></iframe><iframe\x0csrc=${T}></iframe><iframe\rsrc=${T}></iframe>`,
		frameNul: `<iframe \0src=x src=${T}></iframe><iframe\0src=${T}></iframe>`,
		frameOdd: `<iframe =x src=${T}></iframe><iframe "src=x" src=${T}></iframe><iframe < src=${T}></iframe>`,
		frameEntity: `<iframe src="${entities(`${T}`)}"></iframe>`,
		frameTwice: `<iframe src=about:blank src=${T}></iframe><iframe a=1 a=2 src=${T}></iframe>`,
		frameData: `<iframe src="data:text/html,${encodeURIComponent(frame)}"></iframe>`,
		frameset: `<frameset rows=*><frame src=${T}><frame/src=${T}></frameset>`,
		srcdoc: `<iframe srcdoc='${frame}'></iframe>`,
		srcdocEntity: `<iframe srcdoc="${entities(frame)}"></iframe>`,
		srcdocOdd: `<iframe =x/srcdoc="${entities(frame)}"></iframe><iframe srcdoc="${entities(`<img src=${T}>`)}"></iframe>`,
		comment: `<!-- > ${frame} --!>${frame}<!--><iframe src=${T}></iframe>-->`,
		cdata: `<![CDATA[>${frame}]]><svg><![CDATA[${frame}]]></svg>${frame}`,
		textarea: `<textarea>${frame}</textarea><title>${frame}</title></title>${frame}`,
		raw: `<noscript>${frame}</noscript><xmp>${frame}</xmp><noembed>${frame}</noembed><style>${frame}</style><plaintext>${frame}`,
		quoted: `<a title='<iframe src="' href='"></iframe>'>x</a>${frame}<a title="${frame}>`,
		nested: `<iframe title="<iframe src=${T}>" src=${T}><iframe <iframe src=${T}>`,
		template: `<template shadowrootmode=open>${frame}</template><div><template shadowrootmode=open>${frame}</template></div>`,
		select: `<select>${frame}</select><table>${frame}</table><frameset></frameset>`,
		picture: `<img src="cid:p"><iframe src=cid:p></iframe><iframe cid:p src=${T}></iframe>`,
		cidTrick: `<!-- cid:x--><iframe src=${T}></iframe> --><a title="cid:y"><iframe src=${T}></iframe>">`,
		utf16: [utf16(frame), 'utf-8'],
		utf7: [`+ADw-iframe src=${T}+AD4-`, 'utf-7'],
		jis: [`<if\x1b(Brame src=${T}></iframe>`, 'iso-2022-jp'],
		jisMeta: [`<meta charset=iso-2022-jp><if\x1b(Brame src=${T}></iframe>`, ''],
		jisGuess: [`\x1b$B$3$l$OF|K\\8l\x1b(B <if\x1b(Brame src=${T}></iframe>`, 'unknown'],
		shift: [`\x81<iframe src=${T}></iframe>`, 'shift_jis'],
		table: '<table>'.repeat(2000) + frame,
		deep: '<div><b><i>'.repeat(2000) + frame,
		popup: `<a href="${T}" target=_blank id=a autofocus>x</a><area href="${T}" target=_top>`,
	};
};
const modes = ['<!DOCTYPE html>x', 'x', '<!-- a --><!DOCTYPE html>x', '<?xml version="1.0"?>\n<!DOCTYPE html>x', '\ufeff<!doctype html>x',
	'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">x', '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" "http://www.w3.org/TR/html4/strict.dtd">x',
	'<html><!DOCTYPE html>x', '<!--><!DOCTYPE html>-->', '</p><!DOCTYPE html>x', '<!x><!DOCTYPE html>x', '\0<!DOCTYPE html>'];
const remote = (T) => `<link rel=stylesheet href="${T}style"><img src="${T}img"><style>@font-face{font-family:x;src:url(${T}font)} *{font-family:x}</style>x`
	+ `<video src="${T}media" autoplay></video><script src="${T}script"></script><iframe src="${T}frame"></iframe><object data="${T}object"></object>`
	+ `<link rel=manifest href="${T}manifest"><form action="${T}form"></form><meta http-equiv=refresh content="0;url=${T}refresh">`;

/* The daemon and the letters */

const directory = newDirectory();
const daemon = await start(programOf(), directory);
const web = daemon.web.replace(/\/$/, '');

const octetsOf = (html) => (Buffer.isBuffer(html) ? html : Buffer.from(html, /[\u0100-\uffff]/.test(html) ? 'utf8' : 'latin1'));
function letter(name, html, charset = 'utf-8') {
	const type = `text/html${charset && `; charset=${charset}`}`;
	const lines = (octets) => octets.toString('base64').replace(/.{76}/g, '$&\r\n');
	const part = (fields, octets) => `--b\r\n${fields}\r\nContent-Transfer-Encoding: base64\r\n\r\n${lines(octets)}\r\n`;
	const png = Buffer.from(PNG, 'base64');
	const ids = ['p', 'x--', 'y">'].map((id) => part(`Content-Type: image/png\r\nContent-ID: <${id}>`, png));
	return `Subject: ${name}\r\nContent-Type: multipart/related; boundary=b\r\n\r\n${part(`Content-Type: ${type}`, octetsOf(html))}${ids.join('')}--b--\r\n`;
}

/* The browser */

const netLog = path.join(directory, 'net.json');
const args = [...browserOptions.args, `--log-net-log=${netLog}`];

async function open(page, url) {
	const before = caught.length;
	await page.goto(url, { waitUntil: 'load', timeout: 15000 }).catch((error) => faults.push(`${url}: ${error.message.split('\n')[0]}`));
	await page.waitForTimeout(MOMENT);
	return caught.slice(before);
}

/** Goes to a message within the page, as its links do. */
async function openInPane(page, name, url) {
	const document = url.replace('?view=html', '/html');
	await page.evaluate((place) => {
		history.pushState(null, '', place);
		dispatchEvent(new PopStateEvent('popstate'));
	}, url);
	const selector = `iframe[src="${document}"]`;
	const frame = await page.waitForSelector(selector).then((it) => it.contentFrame()).catch(() => {});
	check(frame, `${name}: is not shown in the pane`);
	await frame?.waitForURL(document).catch((error) => faults.push(`${name}: ${error.message}`));
	await page.waitForTimeout(MOMENT);
}

async function run() {
	const letters = [];
	for (const name of Object.keys(mailsFor(''))) {
		for (const host of [address, NAME]) {
			const mail = mailsFor(`http://${host}/${name}/`)[name];
			letters.push([`${name} ${host}`, letter(`${name} ${host}`, ...[mail].flat())]);
		}
	}
	modes.forEach((html, index) => letters.push([`mode ${index}`, letter(`mode ${index}`, html)]));
	letters.push(['remote', letter('remote', remote(`http://${address}/`))]);
	await daemon.deliver(letters.map(([, octets]) => ({ to: ['bob@x.example'], octets })));
	const { messages } = await (await fetch(`${web}/api/v1/messages?limit=1000`)).json();
	const ids = new Map(messages.map(({ Subject, ID }) => [Subject, ID]));
	check(ids.size === letters.length, `${ids.size} of ${letters.length} mails are listed`);

	const browser = await chromium.launch({ ...browserOptions, args });
	const context = await browser.newContext();
	const page = await context.newPage();
	const bare = http.createServer((request, response) => {
		response.setHeader('Content-Type', 'text/html; charset=utf-8');
		const [, index] = request.url.split('/');
		response.end(index === 'control' ? `<img src="http://${address}/control"><img src="http://${CONTROL}/">` : modes[index] ?? '');
	});
	const plain = `http://127.0.0.1:${await listen(bare)}`;
	check((await open(page, `${plain}/control`)).includes('/control'), 'the trap notices nothing');

	const before = caught.length;
	const hostile = letters.map(([name]) => name).filter((name) => name !== 'remote' && !name.startsWith('mode'));
	await Promise.all([0, 1, 2, 3].map(async (share) => {
		const own = await browser.newContext();
		const [tab, pane] = [await own.newPage(), await own.newPage()];
		await pane.goto(web);
		await pane.waitForSelector('.row');
		for (const name of hostile.filter((_, index) => index % 4 === share)) {
			const place = `${web}/m/${ids.get(name)}`;
			await Promise.all([open(tab, `${place}/html`), openInPane(pane, name, `${place}?view=html`)]);
			check(tab.url() === `${place}/html`, `${name}: has gone to ${tab.url()}`);
			check(pane.url() === `${place}?view=html`, `${name}: has gone from the pane to ${pane.url()}`);
			check(own.pages().length === 2, `${name}: has opened a window`);
		}
		await own.close();
	}));
	check(caught.length === before, `connections: ${caught.slice(before)}`);

	await open(page, `${web}/m/${ids.get(`picture ${address}`)}/html`);
	const width = await page.evaluate(() => document.images[0].naturalWidth);
	check(width === 1, `the picture by cid: is ${width} wide`);

	for (const [index, html] of modes.entries()) {
		const mode = () => page.evaluate(() => document.compatMode);
		await open(page, `${plain}/${index}`);
		const expected = await mode();
		await open(page, `${web}/m/${ids.get(`mode ${index}`)}/html`);
		const found = await mode();
		check(found === expected, `${JSON.stringify(html)}: ${found}, not ${expected}`);
	}

	const wanted = (await open(page, `${web}/m/${ids.get('remote')}/html?remote=1`)).filter(Boolean).sort();
	check(`${[...new Set(wanted)]}` === '/font,/img,/media,/style', `remote content: ${wanted}`);
	await browser.close();

	const { constants, events } = JSON.parse(fs.readFileSync(netLog, 'utf8').replace(/,?\s*$/, '').replace(/[^}]$/, '$&'));
	const type = constants.logEventTypes.HOST_RESOLVER_MANAGER_REQUEST;
	const hosts = events.filter((event) => event.type === type).map((event) => event.params?.host ?? '');
	const looked = hosts.filter((host) => host.includes(NAME));
	check(!looked.length, `names were looked up: ${looked}`);
	check(hosts.some((host) => host.includes(CONTROL)), 'the log of the network has no look-ups');
	return letters.length;
}

try {
	const number = await run();
	console.log(faults.length ? faults.join('\n') : `${number} mails: nothing was loaded, looked up or run`);
} finally {
	await daemon.stop();
	fs.rmSync(directory, { recursive: true, force: true });
}
process.exit(faults.length ? 1 : 0);
