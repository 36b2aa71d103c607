// The pane of one message: what can be done with it, who sent it, and its views.

import { byId, icon, iconButton, make } from './dom.js';
import { codeOf, linkOf, size, whenExactly } from './format.js';
import { addressOf, isAbort, message as read } from './server.js';
import { copy, say } from './talk.js';
import { build, filesOf, nameOf, viewsOf } from './views.js';

const COPIES = { y: 'Address', c: 'Code', l: 'Link' };

const pane = byId('message-pane');
export let shown;
let copies = {}; // what can be copied, by its key
let panel;
let notice;
let life = new AbortController(); // of this message
let viewLife = new AbortController();
let on;

/** `on.read(message)`, `on.back()`, `on.remove()`, `on.unread()`, `on.view(name)`. */
export const start = (handlers) => (on = handlers);
export const focus = () => pane.focus({ preventScroll: true });

export function close(...words) {
	life.abort();
	pane.ariaBusy = false;
	shown = undefined;
	pane.replaceChildren(make('div.nothing', ...words));
}

export async function open(id, view) {
	life.abort();
	life = new AbortController();
	pane.ariaBusy = true;
	try {
		shown = await read(id, '', life.signal);
		pane.ariaBusy = false;
		draw();
		showView(view);
		on.read(shown);
	} catch (error) {
		if (isAbort(error)) return;
		const isGone = error.status === 404;
		close(make('h1', isGone ? 'This message is no longer here' : 'This message cannot be shown'), !isGone && make('p', error.message),
			!isGone && make('button', { onclick: () => open(id, view) }, 'Try again'), make('button', { onclick: on.back }, 'Back to the list'));
	}
}

export const setGone = () => tell('This message was removed. This is the last you see of it.');

const tell = (...words) => notice.replaceChildren(...words);

/** Shows a view; without one, the first that there is. */
export async function showView(wanted) {
	if (!shown) return;
	viewLife.abort();
	viewLife = new AbortController();
	const { signal } = viewLife;
	const views = viewsOf(shown);
	const view = wanted in views ? wanted : Object.keys(views)[0];
	for (const tab of pane.querySelectorAll('[role=tab]')) {
		tab.ariaSelected = tab.id === view;
		tab.tabIndex = tab.id === view ? 0 : -1;
		if (tab.id === view) tab.scrollIntoView({ block: 'nearest' });
	}
	panel.setAttribute('aria-labelledby', view);
	try {
		const elements = await build(view, shown, signal);
		if (!signal.aborted) panel.replaceChildren(...elements);
	} catch (error) {
		if (!isAbort(error)) panel.replaceChildren(error.message);
	}
}

export function copyBy(key) {
	if (shown && copies[key]) copy(copies[key]);
	else if (shown) say(`There is no ${COPIES[key].toLowerCase()} in this message.`);
}

function save(href, name) {
	const link = make('a', { href, download: name });
	document.body.append(link);
	link.click();
	link.remove();
}

const fileName = (ending) => `${shown.Subject.slice(0, 80) || 'message'}.${ending}`;

export const download = () => shown && save(addressOf(shown.ID, '/raw'), fileName('eml'));

function saveText(text, ending) {
	const href = URL.createObjectURL(new Blob([text]));
	save(href, fileName(ending));
	setTimeout(() => URL.revokeObjectURL(href), 10000);
}

async function saveFiles() {
	const { ID } = shown;
	for (const file of filesOf(shown)) {
		save(addressOf(ID, `/part/${encodeURIComponent(file.PartID)}`), nameOf(file));
		// Browsers drop downloads that come at once.
		await new Promise((resolve) => setTimeout(resolve, 300));
	}
}

function draw() {
	const message = shown;
	copies = { y: message.Mailboxes?.[0] ?? message.To?.[0]?.Address, c: codeOf(message), l: linkOf(message) };
	const copyButtons = Object.entries(COPIES).filter(([key]) => copies[key]).map(([key, label]) =>
		make('button.quiet', { title: `Copy ${copies[key].slice(0, 200)} (${key})`, onclick: () => copyBy(key) }, icon('copy'), key === 'c' ? `${label} ${copies.c}` : label));
	const bar = make('div.bar', iconButton('back', 'Back to the list', on.back, 'u'),
		make('div.copies', { role: 'group', 'aria-label': 'Copy' }, ...copyButtons),
		make('div.does', menu(message), iconButton('dot', 'Mark unread', on.unread, 'm'), iconButton('bin', 'Remove', on.remove, '#')));
	const tabs = Object.entries(viewsOf(message)).map(([id, label]) =>
		make('button', { role: 'tab', id, 'aria-controls': 'panel', onclick: () => on.view(id) }, label));
	notice = make('p.notice', { role: 'status' });
	panel = make('div.panel', { role: 'tabpanel', id: 'panel', tabindex: 0 });
	pane.replaceChildren(bar, notice, heading(message), make('div.tabs', { role: 'tablist', 'aria-label': 'Views', onkeydown: moveAmongTabs }, ...tabs), panel);
	pane.scrollTop = 0;
	if (message.TooComplex) tell('This message is too complex to show. ', make('a', { href: addressOf(message.ID, '/raw'), download: true }, 'Download it'));
}

function heading({ Subject, From, To, Cc, Bcc, ReplyTo, Created, Size }) {
	const fields = { From: From ? [From] : [{ Address: 'Nobody is named' }], To, Cc, Bcc, 'Reply to': ReplyTo };
	const lines = Object.entries(fields).filter(([, people]) => people?.length).flatMap(([name, people]) => {
		const names = people.flatMap(({ Name, Address }, index) => [index > 0 && ', ', make('bdi', Name ? `${Name} <${Address}>` : Address)]);
		return [make('dt', name), make('dd', ...names)];
	});
	return make('div.heading', make('h1', { dir: 'auto' }, Subject || 'No subject'),
		make('dl', ...lines, make('dt', 'When'), make('dd', `${whenExactly(Created)} · ${size(Size)}`)));
}

function menu(message) {
	const entry = (label, onclick) => make('li', make('button', { onclick }, label));
	const details = make('details', make('summary.quiet', { 'aria-label': 'Download', title: 'Download' }, icon('down')),
		make('ul', entry('Message (.eml)', download),
			message.HTML && entry('HTML', () => saveText(message.HTML, 'html')),
			message.Text && entry('Text', () => saveText(message.Text, 'txt')),
			filesOf(message).length > 0 && entry('All attachments', saveFiles)));
	const shut = () => (details.open = false);
	details.addEventListener('click', (event) => event.target.closest('li') && shut());
	details.addEventListener('focusout', (event) => details.contains(event.relatedTarget) || shut());
	details.addEventListener('keydown', (event) => {
		if (event.key !== 'Escape' || !details.open) return;
		event.stopPropagation();
		details.firstChild.focus();
		shut();
	});
	return details;
}

function moveAmongTabs({ key, target, currentTarget }) {
	const tabs = [...currentTarget.children];
	const step = { ArrowRight: 1, ArrowLeft: tabs.length - 1 }[key];
	if (!step) return;
	const tab = tabs[(tabs.indexOf(target) + step) % tabs.length];
	tab.focus();
	tab.click();
}
