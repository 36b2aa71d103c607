// Hearing of new and removed messages. Of the visible tabs one holds a lock and with it the only
// stream, and tells the others; a hidden tab holds nothing. Browsers without locks (plain HTTP away
// from localhost) ask every two seconds. A stream that is opened anew may have missed something:
// then every tab reads its list again, so that nobody has to know where the last one ended.

import { address, get, root } from './server.js';

const NAME = `facteur ${root.pathname}`;
const POLL_EVERY = 2000;
const PATIENCE_MAX = 30000;

/**
 * Starts listening. `hear({kind, ID})` is told what `arrived` and was `removed`, when the list has
 * to be read again (`reset`), and what other tabs tell; `setLost` whether the connection is.
 */
export function listen(hear, setLost) {
	const channel = new BroadcastChannel(NAME);
	let close = () => {};
	let release = () => {};
	let again; // to try at once, of the tab that listens
	let timer;
	let patience = 1000;

	channel.onmessage = ({ data }) => {
		if (data.kind === 'lost') setLost(data.isLost);
		else if (data.kind === 'retry') again?.();
		else hear(data);
	};
	const tell = (event) => {
		hear(event);
		channel.postMessage(event);
	};
	function connected(isLost) {
		setLost(isLost);
		channel.postMessage({ kind: 'lost', isLost });
		if (!isLost) patience = 1000;
	}
	function tryLater() {
		connected(true);
		timer = setTimeout(again, patience);
		patience = Math.min(PATIENCE_MAX, patience * (1.6 + Math.random() * 0.8));
	}

	function openStream() {
		close();
		clearTimeout(timer);
		again = openStream;
		const stream = new EventSource(address('api/events'));
		close = () => stream.close();
		stream.onopen = () => {
			connected(false);
			tell({ kind: 'reset' });
		};
		stream.onerror = () => {
			close();
			tryLater();
		};
		for (const kind of ['arrived', 'removed', 'reset']) {
			stream.addEventListener(kind, ({ data }) => tell({ ...(data && JSON.parse(data)), kind }));
		}
	}

	let known;
	async function poll() {
		close();
		clearTimeout(timer);
		again = poll;
		const stopped = new AbortController();
		close = () => stopped.abort();
		try {
			const { cursor } = await get('api/cursor', stopped.signal);
			setLost(false);
			if (cursor !== known) hear({ kind: 'reset' });
			known = cursor;
			timer = setTimeout(poll, POLL_EVERY);
		} catch {
			if (!stopped.signal.aborted) tryLater();
		}
	}

	let waiting;
	function start() {
		if (!navigator.locks) {
			poll();
			return;
		}
		waiting = new AbortController();
		const whileHeld = () => {
			openStream();
			return new Promise((resolve) => (release = resolve));
		};
		navigator.locks.request(NAME, { signal: waiting.signal }, whileHeld).catch(() => {});
	}
	function stop() {
		waiting?.abort();
		close();
		clearTimeout(timer);
		again = undefined;
		release();
	}

	document.addEventListener('visibilitychange', () => {
		if (document.hidden) return stop();
		start();
		return hear({ kind: 'reset' });
	});
	if (!document.hidden) start();

	return {
		tell: (event) => channel.postMessage(event),
		retry: () => (again ? again() : channel.postMessage({ kind: 'retry' })),
	};
}
