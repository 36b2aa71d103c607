// A facteur for the scripts in this directory: one without a configuration, with a directory of its
// own, on ports that are free.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

/** The browser; its option is for root, whom Chromium otherwise refuses. */
export const browser = { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] };

// None outlives its script.
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill()));

/** The program that a script is about: its only argument. */
export function programOf() {
	const [, script, program] = process.argv;
	if (!program) throw new Error(`usage: node ${path.relative('.', script)} PROGRAM`);
	return path.resolve(program);
}

export const newDirectory = () => fs.mkdtempSync(path.join(os.tmpdir(), 'facteur-'));

/**
 * Starts a facteur that keeps its mail in `directory`, and waits until it listens. `http` is where
 * it serves pages: it can begin again where an earlier one has ended.
 */
export async function start(program, directory, http = '127.0.0.1:0') {
	const mail = path.join(directory, 'mail');
	const flags = ['--mail', mail, '--smtp', '127.0.0.1:0', '--pop3', '127.0.0.1:0', '--http', http];
	const child = spawn(program, flags, { cwd: directory, env: { PATH: process.env.PATH }, stdio: ['ignore', 'pipe', 'pipe'] });
	running.add(child);
	let log = '';
	const port = (service) => log.match(new RegExp(`^${service} 127\\.0\\.0\\.1:(\\d+)`, 'im'))?.[1];
	await new Promise((done, fail) => {
		for (const stream of [child.stdout, child.stderr]) {
			stream.on('data', (octets) => {
				log += octets;
				if (port('smtp') && port('pop3') && port('http')) done();
			});
		}
		child.once('error', fail);
		child.once('exit', () => fail(new Error(`the daemon has ended:\n${log}`)));
	});
	return {
		mail,
		port,
		web: `http://127.0.0.1:${port('http')}/`,
		deliver: (letters) => deliver(port('smtp'), letters),
		async stop() {
			if (child.exitCode === null && child.kill('SIGTERM')) await once(child, 'exit');
		},
	};
}

/** Says lines to a server, and waits for each reply: one that begins with `code`, or it throws. */
export async function dialogue(port, ends) {
	const socket = net.connect(port, '127.0.0.1');
	const replies = socket.setEncoding('latin1')[Symbol.asyncIterator]();
	return {
		async say(text, code) {
			if (text) socket.write(text);
			let reply = '';
			while (!ends.test(reply)) {
				const { value, done } = await replies.next();
				if (done) throw new Error(`${text.slice(0, 40)}: the connection was closed`);
				reply += value;
			}
			if (!reply.startsWith(code)) throw new Error(`${text.slice(0, 40)}: ${reply}`);
			return reply;
		},
		end: () => socket.end(),
	};
}

/** Sends letters, each `{to, octets}`, in this order. */
async function deliver(port, letters) {
	const { say, end } = await dialogue(port, /^\d{3} [^\n]*\n/m);
	await say('', '220');
	await say('EHLO localhost\r\n', '250');
	for (const { to, octets } of letters) {
		await say('MAIL FROM:<sender@example.org>\r\n', '250');
		for (const address of to) await say(`RCPT TO:<${address}>\r\n`, '250');
		await say('DATA\r\n', '354');
		await say(`${octets.replace(/^\./gm, '..')}.\r\n`, '250');
	}
	await say('QUIT\r\n', '221');
	end();
}

/** Listens on a port that is free, and says which. */
export async function listen(server) {
	server.listen(0, '127.0.0.1');
	await once(server, 'listening');
	return server.address().port;
}
