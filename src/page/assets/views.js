// The views of a message: HTML, text, headers, source and attachments.

import { icon, linkButton, make } from './dom.js';
import { count, linksIn, remoteThings, size } from './format.js';
import { addressOf, message as read, source } from './server.js';

const WIDTHS = { phone: 'Phone', tablet: 'Tablet', full: 'Full' };
const SOURCE_MAX = 4e6;

let width = 'full';
/** What the keys do in this view: `w` and `i` for HTML. */
export let does = {};

export const filesOf = ({ Attachments, Inline }) => [...(Attachments ?? []), ...(Inline ?? [])];
export const nameOf = ({ FileName, PartID }) => FileName || `part ${PartID}`;

/** The views that make sense for a message, with their labels. */
export function viewsOf(message) {
	const files = filesOf(message).length;
	return {
		...(message.HTML && { html: 'HTML' }),
		...(!message.TooComplex && { text: 'Text' }),
		headers: 'Headers',
		source: 'Source',
		...(files && { attachments: `Attachments ${files}` }),
	};
}

export async function build(view, message, signal) {
	does = {};
	const show = { html: showHtml, text: showText, headers: showHeaders, source: showSource, attachments: showFiles };
	return [await show[view](message, signal)].flat();
}

const quiet = (...words) => make('p.quiet', ...words);

function showHtml({ ID, HTML }) {
	const stage = make('div');
	// A new frame each time: one that goes elsewhere would be a step in the history.
	const load = (query) => stage.replaceChildren(make('iframe', {
		title: 'The message as HTML',
		sandbox: 'allow-popups allow-popups-to-escape-sandbox',
		src: addressOf(ID, `/html${query}`),
	}));
	load('');
	const buttons = Object.entries(WIDTHS).map(([name, label]) => make('button', { name, title: `${label} (w)`, onclick: () => setWidth(name) }, label));
	function setWidth(name) {
		width = name;
		stage.className = `stage ${name}`;
		buttons.forEach((button) => (button.ariaPressed = button.name === name));
	}
	setWidth(width);
	const things = remoteThings(HTML);
	const remote = make('p');
	const loadRemote = () => {
		load('?remote=1');
		remote.replaceChildren(`${count(things, 'remote item')} loaded`);
	};
	if (things) remote.append(`${count(things, 'remote item')} not loaded · `, linkButton('Load', loadRemote));
	const names = Object.keys(WIDTHS);
	does = { w: () => setWidth(names[(names.indexOf(width) + 1) % 3]), i: () => things && loadRemote() };
	return [make('div.view-bar', remote, make('div.widths', { role: 'group', 'aria-label': 'Width' }, ...buttons)), stage];
}

function showText({ Text }) {
	if (!Text?.trim()) return quiet('This message has no text.');
	const body = make('div.text', { dir: 'auto' });
	let end = 0;
	for (const { 0: href, index } of linksIn(Text)) {
		body.append(Text.slice(end, index), make('a', { href, target: '_blank', rel: 'noopener noreferrer' }, href));
		end = index + href.length;
	}
	body.append(Text.slice(end));
	return body;
}

async function showHeaders({ ID }, signal) {
	const rows = Object.entries(await read(ID, '/headers', signal)).flatMap(([name, values]) =>
		values.map((value) => make('tr', make('th', { scope: 'row' }, name), make('td', value))));
	return make('table.headers', make('tbody', ...rows));
}

async function showSource({ ID, Size }, signal) {
	if (Size < SOURCE_MAX) return make('pre.source', await source(ID, signal));
	return quiet('The source is too long to show. ', make('a', { href: addressOf(ID, '/raw'), download: true }, 'Download it'));
}

const showFiles = (message) => make('ul.files', ...filesOf(message).map((file) => {
	const href = addressOf(message.ID, `/part/${encodeURIComponent(file.PartID)}`);
	return make('li', make('a', { href, download: nameOf(file) },
		icon('clip'), make('bdi', nameOf(file)), make('small', `${file.ContentType} · ${size(file.Size)}`), icon('down')));
}));
