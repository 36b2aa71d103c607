// Mails as programs send them, for tests and pictures of the page.

import { png } from './png.mjs';

const DAY = 86400;

const lines = (text) => text.replace(/\r?\n/g, '\r\n');
const base64 = (octets) => Buffer.from(octets).toString('base64').replace(/.{76}/g, '$&\r\n');
const word = (text) => (/[^ -~]/.test(text) ? `=?utf-8?B?${Buffer.from(text).toString('base64')}?=` : text);
const person = (text) => text.replace(/^(.*?) </, (_, name) => `${/[^ -~]/.test(name) ? word(name) : JSON.stringify(name)} <`);

const part = (type, octets, ...fields) =>
	[`Content-Type: ${type}`, 'Content-Transfer-Encoding: base64', ...fields, '', base64(octets), ''].join('\r\n');

const multipart = (kind, parts) => {
	if (parts.length < 2) return parts[0];
	const mark = `=_${kind}`;
	return [`Content-Type: multipart/${kind}; boundary="${mark}"`, '', ...parts.flatMap((one) => [`--${mark}`, one]), `--${mark}--`, ''].join('\r\n');
};

/**
 * A mail: `{from, to, cc, subject, text, html, pictures, files}`, of which each may be left out;
 * `pictures` by their Content-ID, `files` by their name.
 */
export function letter({ from, to = [], cc = [], subject, text = '', html, pictures = {}, files = {}, fields = [], date = new Date() }) {
	const shown = Object.entries(pictures).map(([id, octets]) => part('image/png', octets, `Content-ID: <${id}>`, 'Content-Disposition: inline'));
	const bodies = [part('text/plain; charset=utf-8', text)];
	if (html) bodies.push(multipart('related', [part('text/html; charset=utf-8', html), ...shown]));
	const attached = Object.entries(files).map(([name, { type, octets }]) =>
		part(type, octets, `Content-Disposition: attachment; filename*=utf-8''${encodeURIComponent(name)}`));
	const head = [from && `From: ${person(from)}`, to.length && `To: ${to.map(person).join(', ')}`, cc.length && `Cc: ${cc.map(person).join(', ')}`,
		subject && `Subject: ${word(subject)}`, `Date: ${date.toUTCString().replace('GMT', '+0000')}`, ...fields, 'MIME-Version: 1.0'];
	return `${head.filter(Boolean).join('\r\n')}\r\n${lines(multipart('mixed', [multipart('alternative', bodies), ...attached]))}`;
}

/** Hills in the evening, drawn with four times four points for each of the picture. */
const hills = png(1120, 280, (x, y) => {
	const colours = [[253, 238, 220], [250, 205, 150], [120, 160, 150], [66, 116, 116], [33, 74, 84]];
	const sum = [0, 0, 0];
	for (let point = 0; point < 16; point += 1) {
		const [u, v] = [x + (point % 4) / 4, y + Math.floor(point / 4) / 4];
		let colour = (u - 790) ** 2 + (v - 120) ** 2 < 62 ** 2 ? 1 : 0;
		if (v > 160 + 34 * Math.sin(u / 150 + 1)) colour = 2;
		if (v > 200 + 30 * Math.sin(u / 190 + 3.6)) colour = 3;
		if (v > 242 + 22 * Math.sin(u / 230 + 0.4)) colour = 4;
		colours[colour].forEach((value, index) => (sum[index] += value / 16));
	}
	return sum.map(Math.round);
});

const welcome = `<!DOCTYPE html>
<html><head><meta name="viewport" content="width=device-width"><style>
body { margin: 0; background: #f6f1ea; font: 16px/1.6 Georgia, serif; color: #3a3a38; }
.card { max-width: 560px; margin: 28px auto; background: #fff; border-radius: 10px; overflow: hidden; }
.card > img { display: block; width: 100%; }
.inner { padding: 26px 40px 34px; }
h1 { margin: 0 0 10px; font-weight: 400; font-size: 28px; line-height: 1.25; color: #214a54; }
p { margin: 0 0 16px; }
.code { font: 600 32px/1 ui-monospace, Menlo, monospace; letter-spacing: 8px; color: #214a54; padding: 8px 0 12px; }
.button { display: inline-block; padding: 12px 26px; border-radius: 6px; background: #214a54; color: #fff; text-decoration: none; }
.foot { margin: 26px 0 0; padding-top: 16px; border-top: 1px solid #eee6db; font-size: 13px; color: #77736c; }
</style></head><body>
<div class="card"><img src="cid:hills@northwind.example" alt="">
<div class="inner"><h1>Welcome to Northwind</h1>
<p>Hello Bob, thank you for joining us. Your code is</p>
<p class="code">482913</p>
<p>Type it where you have signed up, or use the button. It works for 30 minutes.</p>
<p><a class="button" href="https://northwind.example/confirm?t=8Jx2">Confirm my address</a></p>
<p class="foot">You receive this because somebody has signed up with bob@example.com.<img src="https://track.northwind.example/open.gif?u=1" width="1" height="1" alt=""></p>
</div></div></body></html>`;

const receipt = `<!DOCTYPE html>
<html><body style="font-family:system-ui,sans-serif"><h2>Order 20261129</h2>
<table cellpadding="8"><tr><td>Wool socks, 2 pairs<td align="right">24.00<tr><td>Tea, 250 g<td align="right">18.00
<tr><th align="left">Total in EUR<th align="right">42.00</table></body></html>`;

const log = Array.from({ length: 40 }, (_, index) =>
	`line ${index + 1} of the log, which is long enough to need more room than there is in a narrow window`).join('\n');

/** Some mails, the newest last, with `age` in seconds and the mailboxes that they are for. */
export const samples = [
	{ age: 9 * DAY, from: 'Hans Müller <hans@example.de>', to: ['team@example.com'], subject: 'Grüße aus Köln', text: 'Liebes Team,\n\nalles läuft. Bis Montag!\n\nHans\n' },
	{ age: 8 * DAY, to: ['bob@example.com'] },
	{ age: 3 * DAY, from: '中村 健 <ken@example.jp>', to: ['alice@example.com'], subject: '会議の議事録を送ります', text: 'お疲れ様です。\n議事録を添付しました。ご確認ください。\n',
		files: { '議事録.pdf': { type: 'application/pdf', octets: Buffer.alloc(18200, 'pdf ') } } },
	{ age: 2 * DAY, from: 'مريم <maryam@example.org>', to: ['bob@example.com'], subject: 'مرحبا بالعالم', text: 'تم تأكيد طلبك بنجاح. شكرا لك.\n' },
	{ age: 7 * 3600, from: 'Northwind Orders <orders@northwind.example>', to: ['bob@example.com'], subject: 'Your receipt for order 20261129', html: receipt,
		text: 'Wool socks, 2 pairs   24.00\nTea, 250 g            18.00\nTotal in EUR          42.00\n\nhttps://northwind.example/orders/20261129\n',
		files: { 'receipt-20261129.pdf': { type: 'application/pdf', octets: Buffer.alloc(48213, 'pdf ') },
			'Terms and conditions, as of November 2026, with a name that is long.txt': { type: 'text/plain', octets: 'Be kind.\n' } } },
	{ age: 5 * 3600, from: 'Builds <ci@builds.example>', to: ['support@example.com', 'alice@example.com'], cc: ['Dev <dev@example.com>'],
		subject: '[build 8841] main: 3 of 2,418 tests have failed in linux-x86_64-release-with-all-features',
		text: `The build has failed:\n\n  http::keeps_alive\n  mime::nested\n  pop3::uidl\n\nSee https://builds.example/8841?log=1 for all of it.\n\n${log}\n` },
	{ age: 3 * 3600, from: 'Support <desk@northwind.example>', to: ['support@example.com'], subject: 'Re: Where is my parcel?', fields: ['Reply-To: tickets@northwind.example'],
		text: 'Hello,\n\nit left our house this morning and should be with you on Friday.\n\n> Where is my parcel?\n' },
	{ age: 50 * 60, from: 'no-reply@accounts.example', to: ['alice@example.com'], subject: 'Reset your password', text: 'Use this link within 30 minutes:\n\nhttps://accounts.example/reset/f3a9c1\n' },
	{ age: 21 * 60, from: 'Anna Kim <anna@example.com>', to: ['alice@example.com', 'bob@example.com'], subject: 'Lunch on Thursday?', text: 'Shall we say half past twelve at the usual place?\n\nAnna\n' },
	{ age: 4 * 60, from: 'Northwind <hello@northwind.example>', to: ['Bob Brown <bob@example.com>'], subject: 'Confirm your address', html: welcome,
		text: 'Hello Bob, thank you for joining us. Your code is 482913.\n\nType it where you have signed up, or follow\nhttps://northwind.example/confirm?t=8Jx2\n',
		pictures: { 'hills@northwind.example': hills } },
];

/** The addresses that a mail is for. */
export const addressesOf = ({ to = [], cc = [] }) => [...to, ...cc].map((one) => /<(.*)>/.exec(one)?.[1] ?? one);

/** What is sent for a mail. */
export const sent = (mail) => ({ to: addressesOf(mail), octets: letter(mail) });
