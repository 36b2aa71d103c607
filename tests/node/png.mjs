// Pictures in PNG: made from colours, and made smaller.

import zlib from 'node:zlib';

const COLOURS_MAX = 96;
// Colours that differ less, as a sum of squares, are taken for one.
const NEAR = 90;

function crc(octets) {
	let sum = -1;
	for (const octet of octets) {
		sum ^= octet;
		for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
	}
	return (sum ^ -1) >>> 0;
}

function chunk(name, octets) {
	const content = Buffer.concat([Buffer.from(name), octets]);
	const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
	length.writeUInt32BE(octets.length);
	sum.writeUInt32BE(crc(content));
	return Buffer.concat([length, content, sum]);
}

/** A file of rows that begin with their filter, which is none; `kind` is the type of the colours. */
function file(width, height, kind, chunks, rows) {
	const head = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, kind, 0, 0, 0]);
	head.writeUInt32BE(width);
	head.writeUInt32BE(height, 4);
	const magic = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
	const pixels = zlib.deflateSync(rows, { level: 9, memLevel: 9 });
	return Buffer.concat([magic, chunk('IHDR', head), ...chunks, chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))]);
}

/** A picture in which `colourAt(x, y)` is `[red, green, blue]`. */
export function png(width, height, colourAt) {
	const rows = [];
	for (let y = 0; y < height; y += 1) {
		rows.push(0);
		for (let x = 0; x < width; x += 1) rows.push(...colourAt(x, y));
	}
	return file(width, height, 2, [], Buffer.from(rows));
}

/**
 * A picture with at most 96 colours: of those that it has, the most frequent ones that differ, for
 * each of the others the nearest one. `pixels` has red, green, blue and one octet more for each.
 */
export function reduced(width, height, pixels) {
	const colourAt = (at) => (pixels[at] << 16) | (pixels[at + 1] << 8) | pixels[at + 2];
	const frequencies = new Map();
	for (let at = 0; at < pixels.length; at += 4) frequencies.set(colourAt(at), (frequencies.get(colourAt(at)) ?? 0) + 1);
	const distance = (one, other) => [16, 8, 0].reduce((sum, shift) => sum + (((one >> shift) & 255) - ((other >> shift) & 255)) ** 2, 0);
	const palette = [];
	for (const [colour] of [...frequencies].sort(([, one], [, other]) => other - one)) {
		if (palette.length < COLOURS_MAX && palette.every((one) => distance(one, colour) > NEAR)) palette.push(colour);
	}
	const places = new Map([...frequencies.keys()].map((colour) => {
		const nearest = palette.reduce((best, one) => (distance(one, colour) < distance(best, colour) ? one : best));
		return [colour, palette.indexOf(nearest)];
	}));
	const rows = Buffer.alloc((width + 1) * height);
	for (let y = 0; y < height; y += 1) {
		for (let x = 0; x < width; x += 1) rows[y * (width + 1) + 1 + x] = places.get(colourAt((y * width + x) * 4));
	}
	return file(width, height, 3, [chunk('PLTE', Buffer.from(palette.flatMap((one) => [one >> 16, (one >> 8) & 255, one & 255])))], rows);
}
