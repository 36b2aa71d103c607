// The clients that people use in tests of Mailpit, MailHog and inbucket, unchanged, against a
// facteur: `npm ci` in this directory, then `node clients.mjs PROGRAM`.
//
// Each check is a call of a client and what has to come out. The calls are those that the API has;
// what it lacks has to be refused by a text that says so.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';

import inbucketClient from 'inbucket-js-client';
import mailhogClient from 'mailhog';
import { MailpitClient } from 'mailpit-api';

const [, , program] = process.argv;
if (!program) throw new Error('usage: node clients.mjs PROGRAM');

/** Starts a facteur in a directory of its own, on free ports; returns the address of its API. */
async function start() {
	const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'facteur-clients-'));
	const flags = ['--mail', path.join(directory, 'mail'), '--smtp', '127.0.0.1:0', '--pop3', '127.0.0.1:0', '--http', '127.0.0.1:0'];
	const child = spawn(path.resolve(program), flags, { cwd: directory, env: { PATH: process.env.PATH }, stdio: ['ignore', 'pipe', 'pipe'] });
	process.on('exit', () => {
		child.kill();
		fs.rmSync(directory, { recursive: true, force: true });
	});
	let log = '';
	const port = await new Promise((done, fail) => {
		for (const stream of [child.stdout, child.stderr]) {
			stream.on('data', (octets) => {
				log += octets;
				const found = log.match(/^HTTP 127\.0\.0\.1:(\d+)/m);
				if (found) done(Number(found[1]));
			});
		}
		child.once('error', fail);
		child.once('exit', () => fail(new Error(`the daemon has ended:\n${log}`)));
	});
	return { port, stop: async () => child.kill('SIGTERM') && (await once(child, 'exit')) };
}

const letter = {
	From: { Email: 'ann@example.com', Name: 'Änn' },
	To: [{ Email: 'bob@example.com', Name: 'Bob' }],
	Cc: [{ Email: 'carl@example.com' }],
	Bcc: ['dora@example.com'],
	ReplyTo: [{ Email: 'reply@example.com' }],
	Subject: 'Grüße: 12:30',
	Text: 'Your code is 4711.\nSee https://shop.example/?t=1\n',
	HTML: '<p>Your code is <b>4711</b> <img src="cid:dot">',
	Headers: { 'X-Run': '42' },
	Attachments: [
		{ Content: Buffer.from('a,b\n').toString('base64'), Filename: 'täble.csv', ContentType: 'text/csv' },
		{ Content: 'R0lGODlhAQABAAAAACw=', Filename: 'dot.gif', ContentType: 'image/gif', ContentID: 'dot' },
	],
	Tags: ['sign-up'],
};
const other = { From: letter.From, To: [{ Email: 'eve@example.com' }], Subject: 'Another', Text: 'x' };

async function mailpit(web) {
	const client = new MailpitClient(web);
	const lacking = (call) => assert.rejects(call, /501 .*facteur has no/s);
	const { ID } = await client.sendMessage(letter);
	await client.sendMessage(other);
	const list = await client.listMessages();
	assert.deepEqual([list.total, list.unread, list.messages_count, list.start], [2, 2, 2, 0]);
	const listed = list.messages.find((message) => message.ID === ID);
	assert.equal(listed.Subject, letter.Subject);
	assert.deepEqual(listed.From, { Name: 'Änn', Address: 'ann@example.com' });
	assert.deepEqual(listed.Bcc, [{ Name: '', Address: 'dora@example.com' }]);
	assert.equal(listed.Attachments, 1);
	assert.equal((await client.listMessages(1, 1)).messages.length, 1);
	const whole = await client.getMessageSummary(ID);
	assert.deepEqual([whole.Text.trim(), whole.HTML.trim()], [letter.Text.trim(), letter.HTML]);
	assert.deepEqual([whole.ReturnPath, whole.ReplyTo[0].Address], ['ann@example.com', 'reply@example.com']);
	assert.deepEqual(whole.Attachments.map((part) => part.FileName), ['täble.csv']);
	assert.deepEqual(whole.Inline.map((part) => part.ContentID), ['dot']);
	const blob = await client.getMessageAttachment(ID, whole.Attachments[0].PartID);
	assert.deepEqual([blob.type.split(';')[0], await blob.text()], ['text/csv', 'a,b\n']);
	const headers = await client.getMessageHeaders(ID);
	assert.deepEqual([headers['X-Run'], headers['Mime-Version']], [['42'], ['1.0']]);
	assert.match(await client.getMessageSource(ID), /^Return-Path: <ann@example\.com>\r\n/);
	assert.match(await client.renderMessageHTML(ID), /src="data:image\/gif;base64,/);
	assert.match(await client.renderMessageText(ID), /4711/);
	const count = async (query) => (await client.searchMessages({ query })).messages_count;
	for (const [query, found] of [
		['subject:Grüße', 1], ['is:read', 1], ['is:unread', 1], ['to:bob@example.com', 1], ['addressed:dora', 1],
		['has:attachment -to:eve', 1], ['"12:30"', 1], ['from:ann', 2], ['before:2020-01-01', 0],
	]) assert.equal(await count(query), found, query);
	assert.equal(await client.setReadStatus({ IDs: [ID], Read: false }), 'ok');
	assert.equal(await client.setReadStatus({ Search: 'subject:Another', Read: true }, { tz: 'Europe/Paris' }), 'ok');
	assert.deepEqual([await count('is:read'), (await client.getInfo()).Unread], [1, 1]);
	assert.equal((await client.waitForMessage({ query: 'subject:Grüße' })).ID, ID);
	assert.equal((await client.waitForMessages({ query: 'from:ann', count: 2 })).messages_count, 2);
	await lacking(client.getTags());
	await lacking(client.setTags({ IDs: [ID], Tags: ['a'] }));
	await lacking(client.renameTag('a', 'b'));
	await lacking(client.deleteTag('a'));
	await lacking(client.htmlCheck(ID));
	await lacking(client.linkCheck(ID));
	await lacking(client.spamAssassinCheck(ID));
	await lacking(client.getChaosTriggers());
	await lacking(client.setChaosTriggers());
	await lacking(client.releaseMessage(ID, ['bob@example.com']));
	await lacking(client.getConfiguration());
	await lacking(client.getAttachmentThumbnail(ID, '1'));
	await assert.rejects(client.getMessageSummary('0123456789abcdef-00000000'), /404/);
	await assert.rejects(client.sendMessage({ ...other, To: [{ Email: 'x' }] }), /400 .*To\[0\]\.Email/s);
	assert.equal(await client.deleteMessagesBySearch({ query: 'subject:Another' }), 'ok');
	assert.equal(await client.deleteMessages({ IDs: [ID] }), 'ok');
	await client.sendMessage(other);
	assert.equal(await client.deleteMessages(), 'ok');
	assert.equal((await client.getInfo()).Messages, 0);
}

async function mailhog(web, port) {
	const send = new MailpitClient(web);
	// The client sees no attachments with other names than these.
	await send.sendMessage({ ...letter, Attachments: [{ Content: 'YSxiCg==', Filename: 'table.csv' }] });
	await send.sendMessage(other);
	const client = mailhogClient({ host: '127.0.0.1', port });
	const list = await client.messages();
	assert.deepEqual([list.total, list.count, list.start], [2, 2, 0]);
	assert.equal((await client.messages(1, 1)).items.length, 1);
	const found = await client.latestTo('bob@example.com');
	assert.equal(found.subject, letter.Subject);
	assert.match(found.from, /Änn <ann@example\.com>/);
	assert.match(found.text, /Your code is 4711\./);
	assert.match(found.html, /<b>4711<\/b>/);
	assert.match(found.replyTo, /reply@example\.com/);
	assert.ok(found.date instanceof Date && found.deliveryDate instanceof Date);
	assert.deepEqual(found.attachments.map((part) => [part.name, part.type]), [['table.csv', 'text/csv']]);
	assert.equal((await client.latestFrom('ann@example.com')).ID, list.items[0].ID);
	assert.equal((await client.latestContaining('4711')).ID, found.ID);
	assert.equal((await client.search('eve', 'to')).count, 1);
	assert.equal((await client.search('nothing', 'containing')).count, 0);
	assert.equal((await client.deleteMessage(found.ID)).statusCode, 200);
	assert.equal((await client.messages()).total, 1);
	assert.equal((await client.deleteAll()).statusCode, 200);
	assert.equal((await client.messages()).total, 0);
}

async function inbucket(web) {
	const send = new MailpitClient(web);
	await send.sendMessage(letter);
	await send.sendMessage({ ...other, To: letter.To });
	const client = new inbucketClient.InbucketAPIClient(web);
	const list = await client.mailbox('bob');
	assert.deepEqual(list.map((message) => message.subject), [letter.Subject, 'Another']);
	const [{ id, from, seen }] = list;
	assert.deepEqual([from, seen], ['"Änn" <ann@example.com>', false]);
	const message = await client.message('bob@example.com', id);
	assert.match(message.body.text, /4711/);
	assert.match(message.body.html, /<b>4711<\/b>/);
	assert.deepEqual(message.header['X-Run'], ['42']);
	assert.deepEqual(message.attachments.map((part) => part.filename), ['täble.csv']);
	assert.equal((await client.message('bob', 'latest')).subject, 'Another');
	// The client takes the source for JSON, which no inbucket sends.
	const source = await fetch(new URL(`/api/v1/mailbox/bob/${id}/source`, web));
	assert.match(await source.text(), /^Return-Path: /);
	assert.equal(await client.deleteMessage('bob', id), 'OK');
	assert.equal((await client.mailbox('bob')).length, 1);
	assert.equal((await client.mailbox('carl')).length, 1);
	await assert.rejects(client.message('bob', id), /404/);
	assert.equal(await client.purgeMailbox('bob'), 'OK');
	assert.deepEqual(await client.mailbox('bob'), []);
	await new MailpitClient(web).deleteMessages();
}

/** What the commands use of Cypress: its chains are promises here. */
function cypress(web) {
	globalThis.Cypress = {
		expose: (name) => (name === 'MAILPIT_URL' ? web.replace(/\/$/, '') : undefined),
		config: () => 4000,
	};
	globalThis.cy = {
		env: async () => ({}),
		wrap: async (value) => value,
		wait: (milliseconds) => new Promise((done) => setTimeout(done, milliseconds)),
		async request({ method, url, qs, body }) {
			const address = new URL(url);
			for (const [name, value] of Object.entries(qs ?? {})) address.searchParams.set(name, value);
			const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
			const response = await fetch(address, { method, ...json });
			const text = await response.text();
			if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${text}`);
			const isJson = response.headers.get('content-type')?.startsWith('application/json');
			return { status: response.status, body: isJson ? JSON.parse(text) : text };
		},
	};
}

async function cypressMailpit(web) {
	cypress(web);
	// The package is for a bundler; this is its only file with code, as it is.
	const main = createRequire(import.meta.url).resolve('cypress-mailpit');
	const code = fs.readFileSync(path.join(path.dirname(main), 'src/MailpitCommands.js'));
	const { MailpitCommands } = await import(`data:text/javascript;base64,${code.toString('base64')}`);
	const client = new MailpitCommands();
	const { ID } = await client.mailpitSendMail();
	await client.mailpitSendMail({ to: [{ Email: 'eve@example.com', Name: 'Eve' }], subject: 'Another one' });
	assert.equal((await client.mailpitGetAllMails()).total, 2);
	assert.equal((await client.mailpitSearchEmails('from:from@example.com')).messages_count, 2);
	assert.equal((await client.mailpitGetEmailsBySubject('Hello')).messages_count, 1);
	assert.equal((await client.mailpitGetEmailsByTo('eve@example.com')).messages_count, 1);
	await client.mailpitHasEmailsBySearch('hello');
	await client.mailpitHasEmailsBySubject('Hello');
	await client.mailpitHasEmailsByTo('eve@example.com');
	await client.mailpitNotHasEmailsBySearch('subject:nothing');
	await client.mailpitNotHasEmailsBySubject('nothing');
	await client.mailpitNotHasEmailsByTo('nobody@example.com');
	const mail = await client.mailpitGetMail(ID);
	assert.equal((await client.mailpitGetMail()).Subject, 'Another one');
	assert.equal(await client.mailpitGetSubject(mail), 'Hello Mailpit');
	assert.equal(await client.mailpitGetFromAddress(mail), 'from@example.com');
	assert.deepEqual(await client.mailpitGetRecipientAddress(mail), ['jane@example.com']);
	assert.deepEqual(await client.mailpitGetAttachments(mail), []);
	assert.match(await client.mailpitGetMailHTMlBody(mail), /<p>hello from mailpit<\/p>/);
	assert.match(await client.mailpitGetMailTextBody(mail), /hello from mailpit/);
	await assert.rejects(client.mailpitGetMailSpamAssassinSummary(mail), /501/);
	const unread = async () => (await client.mailpitGetAllMails()).unread;
	assert.equal(await client.mailpitSetAllEmailStatusAsRead(), 'ok');
	assert.equal(await unread(), 0);
	await client.mailpitSetStatusAsUnRead(mail);
	assert.equal(await unread(), 1);
	await client.mailpitSetAllEmailStatusAsUnRead();
	await client.mailpitSetStatusAsRead([mail]);
	assert.equal(await unread(), 1);
	await client.mailpitDeleteEmailsBySearch('subject:Another');
	assert.equal((await client.mailpitGetAllMails()).total, 1);
	await client.mailpitDeleteAllEmails();
	assert.equal((await client.mailpitGetAllMails()).total, 0);
}

const { port, stop } = await start();
const web = `http://127.0.0.1:${port}/`;
for (const check of [mailpit, mailhog, inbucket, cypressMailpit]) {
	await check(web, port);
	console.log(`${check.name}: ok`);
}
await stop();
