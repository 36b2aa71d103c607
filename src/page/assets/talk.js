// What the page says in passing, what it asks, and what it puts on the clipboard.

import { byId, make } from './dom.js';

let hiding;

/** Shows a line for some seconds; screen readers say it. */
export function say(text) {
	const toast = byId('toast');
	toast.textContent = text;
	clearTimeout(hiding);
	hiding = setTimeout(() => (toast.textContent = ''), 4000 + text.length * 30);
}

export function openDialog(title, ...children) {
	const dialog = make('dialog', { 'aria-labelledby': 'dialog-title' }, make('h2', { id: 'dialog-title' }, title), ...children);
	dialog.addEventListener('close', () => dialog.remove());
	document.body.append(dialog);
	dialog.showModal();
	dialog.scrollTop = 0;
	return dialog;
}

export function confirm(question, details, action) {
	const no = make('button', { autofocus: true }, 'Cancel');
	const yes = make('button.danger', { value: 'yes' }, action);
	const dialog = openDialog(question, make('p', details), make('form', { method: 'dialog' }, no, yes));
	return new Promise((resolve) => dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes')));
}

export async function copy(text) {
	try {
		// Without TLS browsers have this at localhost alone.
		if (navigator.clipboard) await navigator.clipboard.writeText(text);
		else copySelected(text);
		say(text.length < 80 ? `Copied ${text}` : 'Copied');
	} catch {
		say('The browser does not let this page copy.');
	}
}

function copySelected(text) {
	const { activeElement } = document;
	const area = make('textarea.unseen');
	area.value = text;
	document.body.append(area);
	area.select();
	const isDone = document.execCommand('copy');
	area.remove();
	activeElement.focus();
	if (!isDone) throw new Error('not copied');
}
