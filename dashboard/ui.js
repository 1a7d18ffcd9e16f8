// Small means to make and renew the page: elements, formats, dialogs. No text ever becomes markup.
import { api } from './api.js';

const SVG = 'http://www.w3.org/2000/svg';
const SVG_TAGS = new Set(['svg', 'g', 'path', 'rect', 'line', 'circle', 'polyline', 'polygon', 'title']);

/** An element. `style` is an object of properties, `class` a text or a list; what is null or false is left out. */
export function h(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag) && tag !== 'title' || attributes?.svg
    ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false || name === 'svg') continue;
    if (name === 'style') for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
    else if (name === 'class') element.setAttribute('class', [value].flat().filter(Boolean).join(' '));
    else element.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/**
 * Makes `old` like `fresh` in place, so that focus, scrolling and what is open stay. Children with a data-key are
 * matched by it, others by their place. What a person has typed or opened is left alone.
 */
export function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return fresh;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return old;
  }
  if (old.hasAttribute('data-keep')) return old;
  for (const { name } of [...old.attributes]) {
    if (name !== 'style' && !(name === 'open' && old.nodeName === 'DETAILS') && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name !== 'style' && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.style && old.style.cssText !== fresh.style.cssText) old.style.cssText = fresh.style.cssText;
  const keyed = new Map();
  for (const child of old.children) if (child.dataset?.key) keyed.set(child.dataset.key, child);
  let place = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const key = child.dataset?.key;
    let match = key ? keyed.get(key) : place;
    if (!key) while (match && match.dataset?.key) match = match.nextSibling;
    if (!match) {
      old.insertBefore(child, place);
      continue;
    }
    if (match !== place) old.insertBefore(match, place);
    const kept = morph(match, child);
    place = kept.nextSibling;
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
  return old;
}

// Formats

export const number = (value) => Number(value ?? 0).toLocaleString('en-US').replaceAll(',', '\u2009');
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** 0.9973 → 99.7 %; never 100 where something failed. */
export function percent(share) {
  if (!Number.isFinite(share)) return '–';
  const value = share * 100;
  if (value > 0 && value < 0.1) return '<\u20090.1\u2009%';
  const digits = value === 0 || value === 100 ? 0 : value > 99 || value < 10 ? 1 : 0;
  const floor = Math.floor(value * 10 ** digits) / 10 ** digits;
  return `${floor.toFixed(digits)}\u2009%`;
}

/** Milliseconds as people say them. */
export function duration(ms) {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1000) return `${Math.round(ms)}\u2009ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)}\u2009s`;
  if (seconds < 120) return `${Math.round(seconds)}\u2009s`;
  if (seconds % 3600 === 0 && seconds < 172800) return `${seconds / 3600}\u2009h`;
  if (seconds < 7200) return `${Math.round(seconds / 60)}\u2009min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)}\u2009h`;
  return `${Math.round(seconds / 86400)}\u2009d`;
}

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const minute = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

export const hourMinute = (at) => minute.format(new Date(at));
function shortTime(at) {
  const date = new Date(at);
  return Math.abs(Date.now() - date) > 20 * 3600e3 ? `${day.format(date)} ${minute.format(date)}` : clock.format(date);
}

/** A time of day; the exact one in UTC on hover. */
export const when = (at) => at ? h('time', { datetime: at, title: at.replace('T', ' ').replace('Z', ' UTC') }, shortTime(at)) : '–';

/** "12 s ago", which goes on by itself. */
export const since = (at) => at ? ticking('ago', at) : '–';
/** "in 43 s", which runs down by itself; then what `over` says. */
export const until = (at, over = 'now') => at ? ticking('left', at, over) : '–';
/** How long it lasts: "12 s". */
export const lasting = (at) => at ? ticking('for', at) : '–';

function ticking(kind, at, over) {
  const element = h('time', {
    datetime: at, title: at.replace('T', ' ').replace('Z', ' UTC'), 'data-tick': kind, 'data-over': over,
  });
  tick(element);
  return element;
}

function tick(element) {
  const distance = Date.parse(element.getAttribute('datetime')) - api.now();
  let text;
  switch (element.dataset.tick) {
    case 'ago': text = distance > -1000 ? 'just now' : `${span(-distance)} ago`; break;
    case 'for': text = span(Math.max(0, -distance)); break;
    default: text = distance <= 0 ? element.dataset.over : `in ${span(distance + 999)}`;
  }
  if (element.textContent !== text) element.textContent = text;
}

function span(ms) {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 90) return `${seconds}\u2009s`;
  if (seconds < 600) return `${Math.floor(seconds / 60)}\u2009min ${seconds % 60}\u2009s`;
  if (seconds < 5400) return `${Math.floor(seconds / 60)}\u2009min`;
  if (seconds < 129600) return `${Math.floor(seconds / 3600)}\u2009h`;
  return `${Math.floor(seconds / 86400)}\u2009d`;
}

/** Renews all times that run; called each second. */
export function tickAll(root = document) {
  for (const element of root.querySelectorAll('[data-tick]')) tick(element);
}

/** The first eight digits of an id; all of it on hover. */
export const shortID = (id) => id ? h('code', { title: id }, id.slice(0, 8)) : '–';
/** The last digits of a time-ordered id, which differ where the first do not. */
export const tailID = (id) => id ? h('code', { title: id }, `…${id.slice(-8)}`) : '–';

export const words = (name) => String(name ?? '').replaceAll('_', ' ');

// Building blocks

export const panel = (title, options, ...children) => h('section', {
  class: ['panel', options?.class], 'aria-label': title, 'data-key': options?.key,
}, h('header', {}, h('h2', {}, title), options?.note && h('p', { class: 'note' }, options.note), options?.tools), children);

export const empty = (text, hint) => h('div', { class: 'empty' }, h('p', {}, text), hint && h('p', { class: 'note' }, hint));

/**
 * A table with real headers. Columns: {name, cell(row), numeric, wide}; `wide` ones go on narrow screens.
 * `keyOf` names rows, so that they stay themselves when others come; with `stack` narrow screens show a row as lines.
 */
export function table(caption, columns, rows, { keyOf, rowClass, stack, none = 'Nothing here.' } = {}) {
  if (!rows.length) return empty(none);
  return h('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': caption },
    h('table', { class: stack && 'stack' },
      h('caption', { class: 'sr' }, caption),
      h('thead', {}, h('tr', {}, columns.map((column) => h('th', {
        scope: 'col', class: [column.numeric && 'num', column.wide && 'wide'],
      }, column.name || h('span', { class: 'sr' }, 'What to do, or how it is'))))),
      h('tbody', {}, rows.map((row) => h('tr', { 'data-key': keyOf?.(row), class: rowClass?.(row) },
        columns.map((column) => h(column.head ? 'th' : 'td', {
          class: [column.numeric && 'num', column.wide && 'wide', column.class], scope: column.head && 'row', 'data-label': column.numeric && column.name,
        }, column.cell(row))))))));
}

/** Word, shape and colour for a breaker's state, so that none is needed alone. */
export function stateMark(state, override) {
  const look = override === 'FORCED_OPEN' || state === 'OPEN' ? 'open'
    : state === 'HALF_OPEN' ? 'half' : override ? 'off' : 'closed';
  const shape = {
    open: h('path', { d: 'M4.6 1h4.8L13 4.6v4.8L9.4 13H4.6L1 9.4V4.6z', fill: 'currentColor' }),
    half: [h('circle', { cx: 7, cy: 7, r: 5.2, fill: 'none', stroke: 'currentColor', 'stroke-width': 1.6 }),
      h('path', { d: 'M7 1.8a5.2 5.2 0 0 0 0 10.4z', fill: 'currentColor' })],
    off: h('rect', { x: 2, y: 2, width: 10, height: 10, rx: 2, fill: 'none', stroke: 'currentColor', 'stroke-width': 1.6 }),
    closed: h('circle', { cx: 7, cy: 7, r: 4.6, fill: 'currentColor' }),
  }[look];
  return h('span', { class: `state ${look}` },
    h('svg', { viewBox: '0 0 14 14', width: 14, height: 14, 'aria-hidden': 'true' }, shape),
    h('b', {}, words(state)), override && h('span', { class: 'note' }, words(override).toLowerCase()));
}

/** A labelled share of a whole, with marks. */
export function meter(share, { label, marks = [], level = 'ok' } = {}) {
  const width = Math.max(0, Math.min(1, share)) * 100;
  return h('div', { class: `meter ${level}`, role: 'meter', 'aria-label': label, 'aria-valuemin': '0', 'aria-valuemax': '100', 'aria-valuenow': Math.round(share * 100) },
    h('i', { style: { width: `${width}%` } }),
    marks.map((mark) => h('s', { style: { left: `${mark * 100}%` } })));
}

/** Says something to who cannot see it. */
export function announce(text) {
  const place = document.getElementById('announce');
  if (place && place.textContent !== text) place.textContent = text;
}

export function toast(text, isBad = false) {
  const note = h('div', { class: ['toast', isBad && 'bad'], role: isBad ? 'alert' : 'status' }, text);
  document.body.append(note);
  setTimeout(() => note.remove(), isBad ? 9000 : 5000);
}

/**
 * Asks before something is changed. `fields`: {name, label, type, value, options, required, hint}. Answers their
 * values; null if it was called off.
 */
export function ask({ title, effect, action, fields = [], danger }) {
  return new Promise((resolve) => {
    const input = (field) => {
      const attributes = { id: `ask-${field.name}`, name: field.name, required: field.required, 'aria-describedby': field.hint && `ask-${field.name}-hint` };
      return field.options
        ? h('select', attributes, field.options.map(([value, text]) => h('option', { value }, text)))
        : h('input', { ...attributes, type: field.type || 'text', maxlength: field.max || 300, autocomplete: 'off' });
    };
    const dialog = h('dialog', { 'aria-labelledby': 'ask-title', 'aria-describedby': 'ask-effect' },
      h('form', { method: 'dialog' },
        h('h2', { id: 'ask-title' }, title), h('p', { id: 'ask-effect' }, effect),
        fields.map((field) => h('p', { class: 'field' }, h('label', { for: `ask-${field.name}` }, field.label), input(field),
          field.hint && h('small', { id: `ask-${field.name}-hint` }, field.hint))),
        h('p', { class: 'buttons' }, h('button', { type: 'button', value: 'cancel' }, 'Cancel'),
          h('button', { type: 'submit', value: 'ok', class: danger ? 'danger' : 'primary' }, action))));
    const back = document.activeElement;
    const end = (value) => { dialog.close(); dialog.remove(); back?.focus?.(); resolve(value); };
    dialog.querySelector('button[value=cancel]').addEventListener('click', () => end(null));
    dialog.addEventListener('cancel', (event) => { event.preventDefault(); end(null); });
    dialog.querySelector('form').addEventListener('submit', (event) => {
      event.preventDefault();
      end(Object.fromEntries(new FormData(event.target)));
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
