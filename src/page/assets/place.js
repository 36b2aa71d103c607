// Where the user is: which list, which message, which view of it. Each place has an address.

import { root } from './server.js';

export function here() {
	const { pathname, searchParams } = new URL(location.href);
	const [, id] = /^m\/([^/]+)$/.exec(pathname.slice(root.pathname.length)) ?? [];
	const text = (name) => searchParams.get(name) ?? '';
	return { mailbox: text('mailbox'), q: text('q'), id: id ? decodeURIComponent(id) : '', view: id ? text('view') : '' };
}

/** The address of a place. A message remembers its list, so that a reload shows both. */
export function hrefOf({ mailbox, q, id, view }) {
	const url = new URL(id ? `m/${encodeURIComponent(id)}` : '.', root);
	for (const [name, value] of Object.entries({ view, mailbox, q })) {
		if (value && (id || name !== 'view')) url.searchParams.set(name, value);
	}
	return url.href;
}
