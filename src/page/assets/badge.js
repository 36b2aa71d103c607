// The number of unread messages in the title and in the icon of the tab.

const ENVELOPE = new Path2D('M15 21h34v23H15zM15 22l17 13 17-13');
let drawn = '';

/** Sets the title, `(3) Hello – facteur`, and draws the icon anew if the number changed. */
export function setTitle(text, unread) {
	const title = text ? `${text} – facteur` : 'facteur';
	document.title = unread ? `(${unread}) ${title}` : title;
	const number = unread > 99 ? '99+' : String(unread || '');
	if (number === drawn) return;
	drawn = number;
	const link = document.querySelector('link[rel=icon]');
	link.type = 'image/png';
	link.href = draw(number);
}

function draw(number) {
	const canvas = document.createElement('canvas');
	canvas.width = canvas.height = 64;
	const pen = canvas.getContext('2d');
	const fill = (colour, ...box) => {
		pen.fillStyle = colour;
		pen.beginPath();
		pen.roundRect(...box, 14);
		pen.fill();
	};
	fill('#2a5db0', 4, 4, 56, 56);
	pen.strokeStyle = '#fff';
	pen.lineWidth = 4;
	pen.stroke(ENVELOPE);
	if (number) {
		const width = 18 + 16 * number.length;
		fill('#c8321f', 64 - width, 28, width, 36);
		pen.fillStyle = '#fff';
		pen.font = 'bold 28px system-ui, sans-serif';
		pen.textAlign = 'center';
		pen.fillText(number, 64 - width / 2, 56);
	}
	return canvas.toDataURL();
}
