// The keys, and the sheet that tells them. Who types letters by accident can turn them off.

import { make } from './dom.js';
import { openDialog } from './talk.js';

const KEYS = {
	'j k': 'Next, previous message',
	Enter: 'Open',
	'u Esc': 'Back to the list',
	'/': 'Search',
	g: 'Mailboxes',
	x: 'Mark',
	'#': 'Remove',
	m: 'Unread, or read',
	a: 'Mark all read',
	'h t e r f': 'HTML, text, headers, source, attachments',
	i: 'Load remote content',
	w: 'Width of the HTML',
	'y c l': 'Copy the address, code, link',
	d: 'Download',
	'?': 'This help',
};

const WORDS = {
	'hello "two words"': 'in From, To, Subject or the text',
	'from: to: cc: bcc: subject: message-id:': 'in this field',
	'addressed: mailbox:': 'in any address; where it is',
	'is:unread is:read has:attachment': 'in this state',
	'after:2026-01-31 before:2h': 'arrived then',
	'larger:20k smaller:3M': 'of this size',
	'-from:bob': 'not from bob',
};

let areLettersKeys = true;
try {
	areLettersKeys = localStorage.getItem('facteur-letters') !== 'off';
} catch {
	// Nothing may be kept here.
}

/** Calls `does[key]()` for each key that is not typed into something. */
export function start(does) {
	document.addEventListener('keydown', (event) => {
		const { key, target } = event;
		if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !Object.hasOwn(does, key)) return;
		if (document.querySelector('dialog[open], :popover-open') || target.closest('input, textarea')) return;
		if (key === 'Enter' && target.closest('a, button, summary')) return;
		if (key.length === 1 && !areLettersKeys) return;
		if (event.repeat && !'jk'.includes(key)) return;
		event.preventDefault();
		does[key]();
	});
}

export function showHelp() {
	const table = (entries, tag) => make(`dl.${tag}s`, ...Object.entries(entries).map(([term, meaning]) =>
		make('div', make('dt', ...term.split(' ').map((one) => make(tag, one))), make('dd', meaning))));
	const box = make('input', { type: 'checkbox', checked: areLettersKeys, onchange: () => {
		areLettersKeys = box.checked;
		localStorage.setItem('facteur-letters', box.checked ? 'on' : 'off');
	} });
	openDialog('Keys', table(KEYS, 'kbd'), make('label', box, ' Single-letter keys'),
		make('h2', 'Search words'), table(WORDS, 'code'),
		make('form', { method: 'dialog' }, make('button', { autofocus: true }, 'Close')));
}
