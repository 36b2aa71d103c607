// The mailboxes at the left, with how many messages they have.

import { byId, make, setText } from './dom.js';
import { number } from './format.js';
import { hrefOf } from './place.js';

const pane = byId('mailboxes');
const list = pane.querySelector('ul');
const entries = new Map(); // by address; '' is all mail

export function show({ mailboxes, partial }, { Messages, Unread, Version }) {
	mailboxes.sort((one, other) => one.Address.localeCompare(other.Address, 'en'));
	const items = [{ Address: '', Messages, Unread }, ...mailboxes].map((mailbox) => {
		if (!entries.has(mailbox.Address)) entries.set(mailbox.Address, newEntry(mailbox.Address));
		const { item, link, unread, all } = entries.get(mailbox.Address);
		setText(unread, mailbox.Unread ? number(mailbox.Unread) : '');
		setText(all, number(mailbox.Messages));
		link.classList.toggle('unread', mailbox.Unread > 0);
		return item;
	});
	const isSame = items.length === list.children.length && items.every((item, index) => item === list.children[index]);
	if (!isSame) list.replaceChildren(...items);
	setText(byId('about'), partial ? 'These are not all mailboxes' : `Version ${Version}`);
}

export function setOpen(address) {
	for (const [one, { link }] of entries) link.ariaCurrent = one === address ? 'page' : null;
}

/** Takes the pane away where it covers the list. */
export const close = () => pane.hidePopover();

function newEntry(address) {
	const unread = make('span.unread-count', { title: 'Unread' });
	const all = make('span.all-count');
	const link = make('a', { href: hrefOf({ mailbox: address }), title: address },
		make('bdi', address || 'All mail'), unread, make('span.unseen', ' unread, '), all);
	return { item: make('li', link), link, unread, all };
}
