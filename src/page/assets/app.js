// The page: which place shows what, and what follows from what the user or the daemon does.

import * as boxes from './boxes.js';
import * as pane from './message.js';
import * as rows from './rows.js';
import * as server from './server.js';
import * as views from './views.js';
import { setTitle } from './badge.js';
import { byId, iconButton, linkButton, make, setText } from './dom.js';
import { count, number } from './format.js';
import { showHelp, start as startKeys } from './keys.js';
import { listen } from './live.js';
import { here, hrefOf } from './place.js';
import { confirm, say } from './talk.js';
import { welcome } from './welcome.js';

const app = byId('app');
const search = byId('search');
const isNarrow = matchMedia('(max-width: 45rem)');

let place = here();
let info = { Unread: 0 };

/* Places */

/** Goes to a place: a step in the history, or instead of the last one. */
function go(change, isStep = true) {
	const next = { ...place, ...change };
	const href = hrefOf(next);
	if (isStep && href !== location.href) history.pushState({ isFromList: !place.id }, '', href);
	else history.replaceState(history.state, '', href);
	arrive(here());
}

function arrive(next, isFirst) {
	const before = place;
	place = next;
	app.dataset.pane = place.id ? 'message' : 'list';
	if (isFirst || before.mailbox !== place.mailbox || before.q !== place.q) showList();
	if (isFirst || before.id !== place.id) {
		rows.setOpen(place.id);
		if (place.id) pane.open(place.id, place.view);
		else pane.close(make('p', 'Choose a message'), linkButton('Keys and search words', showHelp));
	} else if (before.view !== place.view) pane.showView(place.view);
	retitle();
}

function back() {
	if (!place.id) return;
	if (history.state?.isFromList) history.back();
	else go({ id: '' }, false);
	rows.focus();
}

function open(message, isByMouse) {
	if (!message) return;
	go({ id: message.ID, view: '' }, !place.id);
	if (!isByMouse || isNarrow.matches) pane.focus();
}

let opening;
/** Moves in the list. An open message gives way to the one at which the key rests. */
function move(steps) {
	const message = rows.moveBy(steps);
	clearTimeout(opening);
	opening = setTimeout(() => place.id && message && go({ id: message.ID, view: '' }, false), 120);
}

const view = (name) => place.id && go({ view: name }, false);

function retitle() {
	setTitle(place.id && pane.shown ? pane.shown.Subject || 'No subject' : place.mailbox || place.q, info.Unread);
}

/* The list */

function showList() {
	setText(byId('list-title'), place.mailbox || (place.q ? 'Search' : 'All mail'));
	showOpenBox();
	if (search.value.trim() !== place.q) search.value = place.q;
	setState('loading');
	rows.show(place);
}

const showOpenBox = () => boxes.setOpen(place.q && !place.mailbox ? undefined : place.mailbox);

/** What is said instead of a list, or of a search that is none. */
function setState(state, words = [], wrong = '') {
	app.dataset.list = state;
	byId('list-state').replaceChildren(...words);
	setText(byId('search-error'), wrong);
	search.ariaInvalid = wrong !== '';
	if (state !== 'loading') drawActions();
}

function listed({ messages_count: all, messages_unread: unread, partial }) {
	const noun = place.q ? 'found' : all === 1 ? 'message' : 'messages';
	setText(byId('list-count'), all ? `${number(all)} ${noun}${unread ? `, ${number(unread)} unread` : ''}` : '');
	if (all) setState('full', partial ? ['Some mailboxes could not be read: this is not all.'] : []);
	else if (place.q) setState('none', [make('h2', 'Nothing matches'), make('p', 'Try fewer words, or look at the ', linkButton('search words', showHelp), '.')]);
	else setState('none', welcome(info.SmtpAddresses, place.mailbox));
}

function listFailed(error) {
	if (rows.total) {
		// Without an answer the line at the top says it.
		if (error.status) say(error.message);
		return;
	}
	setText(byId('list-count'), '');
	if (place.q && error.status === 400) setState('full', [], error.message);
	else setState('none', [make('h2', 'The list cannot be read'), make('p', error.message), make('button', { onclick: showList }, 'Try again')]);
}

function drawActions() {
	const ids = [...rows.marked];
	const some = () => [
		make('span', `${number(ids.length)} marked`),
		iconButton('read', 'Mark read', () => setRead(ids, true)),
		iconButton('dot', 'Mark unread', () => setRead(ids, false), 'm'),
		iconButton('bin', 'Remove the marked ones', remove, '#'),
		linkButton('Clear', rows.unmarkAll),
	];
	const all = () => [
		iconButton('read', 'Mark all read', readAll, 'a'),
		iconButton('bin', place.q ? 'Remove all that were found' : 'Remove all', removeAll),
	];
	const actions = byId('list-actions');
	// New mail must not take the focus from a button.
	const content = `${ids} ${rows.total > 0} ${place.q}`;
	if (actions.dataset.content === content) return;
	actions.dataset.content = content;
	if (actions.contains(document.activeElement)) rows.focus();
	byId('list-head').className = ids.length ? 'marking' : '';
	actions.replaceChildren(...(ids.length ? some() : rows.total ? all() : []));
}

/* What the user does */

/** Does what the daemon may refuse, and then looks again. */
const attempt = (task) => async (...what) => {
	try {
		await task(...what);
	} catch (error) {
		say(error.message);
	}
	refresh();
};

/** The marked messages, else the open one, else the current one. */
const chosen = () => (rows.marked.size ? [...rows.marked] : [place.id || rows.find()?.ID].filter(Boolean));

const remove = attempt(async () => {
	const ids = chosen();
	await server.change('DELETE', ids);
	rows.unmarkAll();
	if (ids.length) say(`Removed ${count(ids.length, 'message')}`);
	if (ids.includes(place.id)) back();
});

const removeAll = attempt(async () => {
	const { mailbox, q } = place;
	const details = `All messages${q && ` that “${q}” finds`} are removed from ${mailbox || 'every mailbox that has them'}.`;
	if (!(await confirm(`Remove ${count(rows.total, 'message')}?`, details, 'Remove all'))) return;
	await server.removeAll({ mailbox, q });
	rows.unmarkAll();
	say('Removed');
	checkOpen();
});

const setRead = attempt(async (ids, isRead) => {
	await server.change('PUT', ids, { Read: isRead });
	rows.unmarkAll();
	noteRead(ids, isRead);
	say(`Marked as ${isRead ? 'read' : 'unread'}`);
});

const readAll = attempt(async () => setRead(await server.idsOf({ ...place, q: `is:unread ${place.q}` }), true));

function noteRead(ids, isRead) {
	rows.setRead(ids, isRead);
	live.tell({ kind: 'marks', ids, isRead });
}

function toggleRead() {
	const current = rows.find();
	if (rows.marked.size || place.id) setRead(chosen(), false);
	else if (current) setRead([current.ID], !current.Read);
}

function searchFor(text) {
	const q = text.trim();
	if (q !== place.q) go({ q, id: '' }, !(q && place.q));
}

/* What the daemon says */

/** A task that is done at once, and again if it was wanted meanwhile, but not all the time. */
function sparingly(task) {
	let isBusy = false;
	let isWanted = false;
	return async function run() {
		isWanted = true;
		if (isBusy) return;
		isBusy = true;
		isWanted = false;
		const began = performance.now();
		await task();
		setTimeout(() => {
			isBusy = false;
			if (isWanted) run();
		}, 400 + 4 * (performance.now() - began));
	};
}

const refreshList = sparingly(() => rows.load());
const refreshBoxes = sparingly(async () => {
	try {
		const [answer, newInfo] = await Promise.all([server.get('api/mailboxes'), server.get('api/v1/info')]);
		info = newInfo;
		boxes.show(answer, info);
		showOpenBox();
		retitle();
	} catch {
		// The list says it.
	}
});

function refresh() {
	refreshList();
	refreshBoxes();
}

/** Looks whether the open message is still there. */
async function checkOpen() {
	const message = pane.shown;
	try {
		if (message) await server.message(message.ID, '/headers');
	} catch (error) {
		if (error.status === 404 && pane.shown === message) pane.setGone();
	}
}

function hear({ kind, ID, ids, isRead }) {
	if (kind === 'marks') rows.setRead(ids, isRead);
	else if (kind === 'reset' || ID === place.id) checkOpen();
	refreshBoxes();
	// A hidden tab reads its list when it is seen again.
	if (!document.hidden) refreshList();
}

function setLost(isLost) {
	const line = byId('lost');
	if (isLost && !line.firstChild) line.append('No connection to the daemon. Trying again… ', linkButton('Try now', () => live.retry()));
	if (!isLost) line.replaceChildren();
}

/* The start */

app.hidden = false;
rows.start({ open, move, marks: drawActions, list: listed, error: listFailed });
pane.start({
	back,
	view,
	remove: () => {
		rows.unmarkAll();
		remove();
	},
	unread: () => setRead([place.id], false),
	read({ ID }) {
		rows.setOpen(ID);
		if (!rows.find(ID)?.Read) noteRead([ID], true);
		refreshBoxes();
		retitle();
	},
});
startKeys({
	j: () => move(1),
	k: () => move(-1),
	Enter: () => open(rows.find()),
	u: back,
	Escape: () => (rows.marked.size ? rows.unmarkAll() : back()),
	'#': remove,
	Delete: remove,
	x: () => rows.mark(),
	a: readAll,
	m: toggleRead,
	'/': () => search.select(),
	g() {
		if (byId('menu').offsetParent) byId('menu').click();
		document.querySelector('nav [aria-current], nav a').focus();
	},
	h: () => view('html'),
	t: () => view('text'),
	e: () => view('headers'),
	r: () => view('source'),
	f: () => view('attachments'),
	i: () => views.does.i?.(),
	w: () => views.does.w?.(),
	y: () => pane.copyBy('y'),
	c: () => pane.copyBy('c'),
	l: () => pane.copyBy('l'),
	d: pane.download,
	'?': showHelp,
});
const live = listen(hear, setLost);

let typing;
search.addEventListener('input', () => {
	clearTimeout(typing);
	// A word that waits for more after its colon is not wrong yet.
	if (!search.value.endsWith(':')) typing = setTimeout(searchFor, 300, search.value);
});
search.addEventListener('keydown', ({ key }) => key === 'Escape' && !search.value && rows.focus());
byId('search-form').addEventListener('submit', (event) => {
	event.preventDefault();
	clearTimeout(typing);
	searchFor(search.value);
	rows.focus();
});
byId('help').addEventListener('click', showHelp);
document.addEventListener('click', (event) => {
	const link = event.target.closest('nav a, #name');
	if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
	event.preventDefault();
	go({ mailbox: new URL(link.href).searchParams.get('mailbox') ?? '', q: '', id: '' });
	boxes.close();
	rows.focus();
});
addEventListener('popstate', () => arrive(here()));

// The words of an empty list need what the daemon says of itself.
await refreshBoxes();
arrive(place, true);
