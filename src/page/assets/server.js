// Asking the daemon. Every address is relative to the root, which may be below a proxy's prefix.

/** The address of the list: this module is in `assets/` below it. */
export const root = new URL('../', import.meta.url);

export const address = (path) => new URL(path, root).href;

const escaped = encodeURIComponent;
/** The address of something that belongs to the page of a message. */
export const addressOf = (id, rest = '') => address(`m/${escaped(id)}${rest}`);

/** Whether an error only says that the answer is not wanted any more. */
export const isAbort = (error) => error.name === 'AbortError';

/** Errors have the daemon's own words, and its status; 0 if it does not answer. */
async function ask(path, { method, body, signal } = {}) {
	let response;
	try {
		response = await fetch(address(path), { method, signal, body: body && JSON.stringify(body) });
	} catch (error) {
		if (isAbort(error)) throw error;
		throw Object.assign(new Error('The daemon does not answer.'), { status: 0 });
	}
	if (response.ok) return response;
	const text = (await response.text()).trim().slice(0, 500) || response.statusText;
	throw Object.assign(new Error(text), { status: response.status });
}

export const get = async (path, signal) => (await ask(path, { signal })).json();

/** A message (which is read from now on), or its `/headers`. */
export const message = (id, rest, signal) => get(`api/v1/message/${escaped(id)}${rest}`, signal);

/** The messages of a mailbox, of a search, of a search in a mailbox, or all. */
const pathOf = ({ mailbox, q }) =>
	`api/v1/${q ? `search?query=${escaped(q)}&` : 'messages?'}${mailbox && `mailbox=${escaped(mailbox)}&`}`;

/** A window of a list. */
export const list = (place, start, limit, signal) => get(`${pathOf(place)}start=${start}&limit=${limit}`, signal);

export const source = async (id, signal) => (await ask(`api/v1/message/${escaped(id)}/raw`, { signal })).text();

/** Removes messages, or marks them as read or not, so many at a time as fit into a request. */
export async function change(method, ids, more) {
	for (let start = 0; start < ids.length; start += 10000) {
		await ask('api/v1/messages', { method, body: { IDs: ids.slice(start, start + 10000), ...more } });
	}
}

/** Removes all messages of a list; in a mailbox, from that one alone. */
export const removeAll = (place) =>
	ask(place.mailbox && !place.q ? `api/mailboxes/${escaped(place.mailbox)}` : pathOf(place), { method: 'DELETE' });

/** The IDs of all messages of a list. */
export async function idsOf(place) {
	const ids = [];
	for (let start = 0, all = 1; start < all; start += 1000) {
		const answer = await list(place, start, 1000);
		all = answer.messages_count;
		ids.push(...answer.messages.map(({ ID }) => ID));
	}
	return ids;
}
