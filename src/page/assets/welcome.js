// What an empty list says: how to send the first message to exactly this daemon.

import { iconButton, make } from './dom.js';
import { copy } from './talk.js';

const EXAMPLES = {
	'With swaks': (host, port, to) => `swaks --server ${host} --port ${port} --to ${to}`,
	'With curl': (host, port, to) => `printf 'Subject: Hello\\r\\n\\r\\nIt works.\\r\\n' | \\
  curl smtp://${host.includes(':') ? `[${host}]` : host}:${port} -T - \\
  --mail-from me@example.com --mail-rcpt ${to}`,
	'By hand': (host, port, to) => `telnet ${host} ${port}
HELO me
MAIL FROM:<me@example.com>
RCPT TO:<${to}>
DATA
Subject: Hello

It works.
.
QUIT`,
};

export function welcome([listening] = [], mailbox) {
	const title = make('h2', mailbox ? 'Nothing in this mailbox' : 'No mail yet');
	const live = 'Messages appear here as they arrive.';
	if (!listening) return [title, make('p', live)];
	const [, name, port] = /^\[?(.*?)\]?:(\d+)$/.exec(listening);
	// One can listen at these, but not connect to them.
	const host = /^(0\.0\.0\.0|::|)$/.test(name) ? location.hostname.replace(/[[\]]/g, '') : name;
	const to = /^[\w.+@-]+$/.test(mailbox) ? mailbox : 'you@example.com';
	const how = make('p', 'Let your program send to ', make('b', host), ', port ', make('b', port), `. ${live} Or send the first one by hand:`);
	const examples = Object.entries(EXAMPLES).flatMap(([label, write]) => {
		const text = write(host, port, to);
		return [
			make('h3', label),
			make('div.example', make('pre', { tabindex: 0 }, text),
				iconButton('copy', `Copy: ${label}`, () => copy(text))),
		];
	});
	return [title, how, ...examples];
}
