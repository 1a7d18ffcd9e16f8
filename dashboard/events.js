// What happened, the newest first.
import { h, when, panel, table, words } from './ui.js';
import { api } from './api.js';

let name = '';

export default {
  id: 'events', title: 'Events', icon: 'M5 5h10M5 10h10M5 15h6',
  every: 3,
  /** Shown where the service has such a route. */
  probe: '/v1/events?limit=1',
  can: (scopes) => scopes.some((scope) => ['read', 'admin', 'operator'].includes(scope)),

  async load(context) {
    context.data.events = await api.optional(`/v1/events?limit=100${name ? `&event=${encodeURIComponent(name)}` : ''}`, { tenant: context.tenant });
  },

  render(context) {
    const items = context.data.events?.items || [];
    const names = [...new Set([...items.map((event) => event.event || event.name), name].filter(Boolean))].sort();
    return panel('Events', { tools: h('label', { class: 'pick' }, 'Only ', h('select', { 'data-change': 'only' }, h('option', { value: '' }, 'all'), names.map((one) => h('option', { value: one, selected: one === name }, one)))) },
      table('Events', [
        { name: 'At', head: true, cell: (row) => when(row.at || row.timestamp) },
        { name: 'Event', cell: (row) => h('span', { class: `chip ${/fail|zombie|lost|open/i.test(row.event || row.name) ? 'bad' : ''}` }, words(row.event || row.name)) },
        { name: 'What', class: 'text', cell: (row) => fields(row) },
      ], items, { stack: true, keyOf: (row) => String(row.id), none: 'Nothing happened yet.' }));
  },

  acts: {
    only: async (element, context) => { name = element.value; await context.reload(); },
  },
};

const SKIPPED = new Set(['id', 'at', 'timestamp', 'event', 'name', 'message', 'tenantId', 'traceId', 'fields']);
function fields(row) {
  const all = { ...row, ...(row.fields || {}) };
  return Object.entries(all).filter(([key, value]) => !SKIPPED.has(key) && value !== null && value !== '')
    .map(([key, value]) => h('span', { class: 'pair' }, h('span', { class: 'note' }, key), ' ', typeof value === 'object' ? JSON.stringify(value) : String(value)));
}
