// Making elements. Text from mail gets into the page here, and only as text.

export const byId = (id) => document.getElementById(id);

/**
 * A new element: `make('p.quiet', {title: 'x', onclick: f}, 'text', child)`. Attributes and
 * children that are undefined or false are left out.
 */
export function make(what, ...parts) {
	const [tag, ...classes] = what.split('.');
	const element = document.createElement(tag);
	element.classList.add(...classes);
	for (const part of parts) {
		if (part?.constructor === Object) Object.entries(part).forEach(([name, value]) => set(element, name, value));
		else if (part !== undefined && part !== false) element.append(part);
	}
	return element;
}

function set(element, name, value) {
	if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
	else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
}

export function icon(name) {
	const copy = byId('icons').content.getElementById(name).cloneNode(true);
	copy.removeAttribute('id');
	copy.ariaHidden = true;
	return copy;
}

export const iconButton = (name, label, onclick, key) =>
	make('button.quiet', { 'aria-label': label, title: key ? `${label} (${key})` : label, onclick }, icon(name));

export const linkButton = (label, onclick) => make('button.link', { onclick }, label);

/** Changes a text, unless it is the same: screen readers would say it again. */
export function setText(element, text) {
	if (element.textContent !== text) element.textContent = text;
}
