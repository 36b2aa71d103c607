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

/** A window of the messages of a mailbox, of a search, or of all. */
export function list({ mailbox, q }, start, limit, signal) {
	const window = `start=${start}&limit=${limit}`;
	if (!q) return get(`api/${mailbox ? `mailboxes/${escaped(mailbox)}` : 'v1/messages'}?${window}`, signal);
	const words = mailbox ? `mailbox:"${mailbox}" ${q}` : q;
	return get(`api/v1/search?query=${escaped(words)}&${window}`, signal);
}

export const source = async (id, signal) => (await ask(`api/v1/message/${escaped(id)}/raw`, { signal })).text();

/** Removes messages, or marks them as read or not, so many at a time as fit into a request. */
export async function change(method, ids, more) {
	for (let start = 0; start < ids.length; start += 10000) {
		await ask('api/v1/messages', { method, body: { IDs: ids.slice(start, start + 10000), ...more } });
	}
}

/** Removes all messages of a mailbox, of a search, or all there are. */
export async function removeAll(place) {
	if (place.mailbox) return change('DELETE', await idsOf(place));
	return ask(place.q ? `api/v1/search?query=${escaped(place.q)}` : 'api/v1/messages', { method: 'DELETE' });
}

/** The IDs of all messages of a list. */
export async function idsOf(place) {
	const ids = [];
	for (let start = 0, all = 1; start < all; start += 1000) {
		const answer = await list(place, start, 1000);
		all = answer.messages_count;
		// A search for a mailbox also finds longer addresses.
		const here = answer.messages.filter(({ Mailboxes }) => !place.mailbox || Mailboxes.includes(place.mailbox));
		ids.push(...here.map(({ ID }) => ID));
	}
	return ids;
}
