// How things are written, and what can be found in a message: its code, its first link, and what it
// would load from elsewhere.

const time = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const old = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

/** A time, as short as it can be. */
export function when(text) {
	const [date, now] = [new Date(text), new Date()];
	if (date.getFullYear() !== now.getFullYear()) return old.format(date);
	return (date.toDateString() === now.toDateString() ? time : day).format(date);
}

export const whenExactly = (text) => exact.format(new Date(text));

export function size(octets) {
	if (octets < 1000) return `${octets} B`;
	const [value, unit] = octets < 999500 ? [octets / 1e3, 'kB'] : [octets / 1e6, 'MB'];
	return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

export const number = (value) => value.toLocaleString('en');

/** `1 message`, `1,200 messages`. */
export const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? '' : 's'}`;

// More is not looked through, and no pattern goes through a text twice: mail must not stop the page.
const head = (text) => (text ?? '').slice(0, 1 << 18);

const decoded = (html) =>
	html.replace(/&nbsp;/g, ' ').replace(/&(quot|#34);/g, '"').replace(/&(#39|apos);/g, "'").replace(/&amp;/g, '&');

/** The first 4 to 8 digits that are not part of a word, a date, an amount or a link. */
export function codeOf({ Text, HTML }) {
	const text = head(Text) || decoded(head(HTML).replace(/<style\b(?:[^<]|<!--)*<\/style>|<[^<>]*>/gi, ' '));
	return /(?<![\p{L}\p{N}_#&]|[\p{L}\p{N}][-.,:/?=+])\d{4,8}(?![\p{L}\p{N}_]|[-.,:/?&=#+][\p{L}\p{N}])/u.exec(text)?.[0];
}

/** Addresses in text, with what is around them left out. */
export const linksIn = (text) => head(text).matchAll(/https?:\/\/[^\s<>"]*[^\s<>"'.,;:!?)\]}]/gi);

export function linkOf({ Text, HTML }) {
	for (const [link] of linksIn(Text)) return link;
	const href = /<a\b[^<>]*?\shref\s*=\s*["']?(https?:[^"'\s>]+)/i.exec(head(HTML))?.[1];
	return href && decoded(href);
}

const REMOTE = [
	/(?<![-\w])(?:src|srcset|background|poster)\s*=\s*(?:["']\s*)?((?:https?:)?\/\/[^"'\s>]+)/gi,
	/<(?:link|image)\b[^<>]*?\shref\s*=\s*["']?((?:https?:)?\/\/[^"'\s>]+)/gi,
	/(?:\burl\(|@import\s)\s*["']?((?:https?:)?\/\/[^"')\s]+)/gi,
];

/** How many things HTML would load from elsewhere, each address once. Frames are never loaded. */
export function remoteThings(html) {
	const text = decoded(html.replace(/<i?frame\b[^>]{0,8192}/gi, ''));
	return new Set(REMOTE.flatMap((pattern) => [...text.matchAll(pattern)].map((found) => found[1]))).size;
}
