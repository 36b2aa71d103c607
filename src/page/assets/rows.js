// The list of messages. All rows have one height and only those in sight exist, so that 100,000
// messages scroll; the daemon is asked for the window around them. The current row, which the keys
// move, need not be in sight.

import { byId, icon, make } from './dom.js';
import { count, size, when } from './format.js';
import { isAbort, list } from './server.js';

const WINDOW = 100;
// Browsers do not scroll without limit.
const ROWS_MAX = 200000;

const box = byId('list');
const canvas = make('div.canvas', { role: 'presentation' });
const elements = new Map(); // by the number of their message

/** The IDs of the marked messages. */
export const marked = new Set();
export let total = 0;

let place;
let isNew = true; // until listed
let messages = new Map(); // by their number
let current = -1;
let openID = '';
let height = 0;
let loading = new AbortController();
let on;

/** `on.open(message, isByMouse)`, `on.move(rows)`, `on.marks()`, `on.list(answer)`, `on.error(error)`. */
export function start(handlers) {
	on = handlers;
	box.append(canvas);
	box.addEventListener('scroll', render, { passive: true });
	box.addEventListener('click', clicked);
	box.addEventListener('keydown', pressed);
	box.addEventListener('focus', () => current < 0 && box.matches(':focus-visible') && moveBy(0));
	new ResizeObserver(measure).observe(box);
}

export function show(newPlace) {
	place = newPlace;
	isNew = true;
	current = -1;
	marked.clear();
	box.ariaBusy = true;
	return load();
}

/** Reads the list again. What is in sight stays there. */
export async function load() {
	loading.abort();
	loading = new AbortController();
	const { signal } = loading;
	const first = isNew ? 0 : Math.floor(box.scrollTop / height) || 0;
	const start = Math.max(0, first - WINDOW);
	try {
		const answer = await list(place, start, 3 * WINDOW, signal);
		const [anchor, was, before] = [messages.get(first), messages.get(current), total];
		messages = new Map(answer.messages.map((message, index) => [start + index, message]));
		total = Math.min(answer.messages_count, ROWS_MAX);
		// At the top, what is new moves the rest down; elsewhere it must not.
		let moved = 0;
		if (!isNew && anchor && box.scrollTop > 0) moved = (numberOf(anchor.ID) ?? first + Math.max(0, total - before)) - first;
		if (current >= 0) {
			current = (was && numberOf(was.ID)) ?? Math.min(current + (current >= first ? moved : 0), total - 1);
			if (was && !messages.has(current)) messages.set(current, was);
		}
		resize();
		if (isNew) box.scrollTop = 0;
		else if (moved) box.scrollTop += moved * height;
		isNew = false;
		on.list(answer);
		render();
	} catch (error) {
		if (isAbort(error)) return;
		if (isNew) clear();
		on.error(error);
	}
	box.ariaBusy = false;
}

function clear() {
	messages.clear();
	total = 0;
	resize();
	render();
}

function numberOf(ID) {
	for (const [number, message] of messages) if (message.ID === ID) return number;
	return undefined;
}

/** The message with this ID, if it is known; without an ID the current one. */
export const find = (ID) => messages.get(ID ? numberOf(ID) : current);
export const focus = () => box.focus({ preventScroll: true });

/** Notes which message is open, and makes it the current one. */
export function setOpen(ID) {
	openID = ID;
	const number = numberOf(ID);
	if (number !== undefined && number !== current) moveBy(number - current);
	render();
}

export function setRead(ids, isRead) {
	const changed = new Set(ids);
	for (const message of messages.values()) if (changed.has(message.ID)) message.Read = isRead;
	render();
}

/** Moves by so many rows, into sight; the message there, if it is known. */
export function moveBy(rows) {
	current = Math.min(total - 1, Math.max(0, current + rows));
	const top = current * height;
	box.scrollTop = Math.max(Math.min(box.scrollTop, top), top + height - box.clientHeight);
	render();
	return find();
}

export function mark() {
	const ID = find()?.ID;
	if (ID && !marked.delete(ID)) marked.add(ID);
	on.marks();
	render();
}

export function unmarkAll() {
	marked.clear();
	on.marks();
	render();
}

function measure() {
	const probe = make('div.row');
	canvas.append(probe);
	height = probe.offsetHeight;
	probe.remove();
	elements.forEach((element) => element.remove());
	elements.clear();
	resize();
	render();
}

const resize = () => (canvas.style.height = `${total * height}px`);

let asking;
let asked = '';

/** Makes the rows that came into sight, and takes those away that left it. */
function render() {
	if (!height) return;
	const first = Math.max(0, Math.floor(box.scrollTop / height) - 4);
	const last = Math.min(total - 1, first + Math.ceil(box.clientHeight / height) + 8);
	const wanted = new Set(current >= 0 && current < total ? [current] : []);
	for (let number = first; number <= last; number += 1) wanted.add(number);
	for (const [number, element] of elements) {
		if (wanted.has(number)) continue;
		element.remove();
		elements.delete(number);
	}
	// From the last one on, so that they are in order also for a screen reader.
	let next = null;
	for (const number of [...wanted].sort((one, other) => other - one)) {
		const element = elements.get(number) ?? make('div', { role: 'option', id: `row-${number}` });
		if (!elements.has(number)) {
			element.style.transform = `translateY(${number * height}px)`;
			canvas.insertBefore(element, next);
			elements.set(number, element);
		}
		draw(element, number);
		next = element;
	}
	if (elements.has(current)) box.setAttribute('aria-activedescendant', `row-${current}`);
	else box.removeAttribute('aria-activedescendant');
	// What the daemon does not have either is not asked for again and again.
	if (!total || `${first} ${total}` === asked || (messages.has(first) && messages.has(last))) return;
	asked = `${first} ${total}`;
	clearTimeout(asking);
	asking = setTimeout(load, 40);
}

const unseen = (text) => make('span.unseen', text);

function draw(element, number) {
	const message = messages.get(number);
	const { ID, Read, From, Mailboxes, Subject, Snippet, Created, Attachments, Size } = message ?? {};
	const isMarked = marked.has(ID);
	const isOpen = Boolean(ID) && ID === openID;
	const state = { unread: Read === false, current: number === current, open: isOpen, marked: isMarked };
	element.className = ['row', ...Object.keys(state).filter((name) => state[name])].join(' ');
	element.ariaSetSize = total;
	element.ariaPosInSet = number + 1;
	element.ariaSelected = isMarked;
	element.ariaCurrent = isOpen ? 'true' : null;
	// What is under the pointer has to stay, or there is no click.
	const content = `${ID} ${Read} ${place.mailbox}`;
	if (element.dataset.content === content) return;
	element.dataset.content = content;
	if (!message) {
		element.replaceChildren(unseen('Loading'));
		return;
	}
	element.replaceChildren(
		make('span.mark'),
		make('span.who', !Read && unseen('Unread. '), make('bdi', From?.Name || From?.Address || 'No sender'),
			!place.mailbox && make('span.to', unseen(' to '), make('bdi', Mailboxes.join(', ')))),
		make('time', { datetime: Created }, when(Created)),
		make('span.subject', { dir: 'auto' }, Subject || 'No subject'),
		make('span.snippet', { dir: 'auto' }, Snippet),
		make('span.facts', Attachments > 0 && icon('clip'), Attachments > 0 && unseen(count(Attachments, 'attachment')), size(Size)));
}

function clicked(event) {
	const row = event.target.closest('.row');
	if (!row || !messages.has(Number(row.id.slice(4)))) return;
	current = Number(row.id.slice(4));
	if (event.target.closest('.mark')) mark();
	else on.open(find(), true);
}

function pressed(event) {
	const page = Math.floor(box.clientHeight / height) - 1;
	const rows = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -total, End: total }[event.key];
	if (event.ctrlKey || event.metaKey || event.altKey || !(rows || event.key === ' ')) return;
	if (rows) on.move(rows);
	else mark();
	event.preventDefault();
}
