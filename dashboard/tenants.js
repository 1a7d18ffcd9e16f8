// Tenants: how each is doing (operators), and one's keys and audit.
import { h, number, percent, when, since, panel, table, empty, words, ask } from './ui.js';
import { api } from './api.js';

export default {
  id: 'tenants', title: 'Tenants', icon: 'M7 9a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM2.5 16c0-3 2-4.5 4.5-4.5s4.5 1.5 4.5 4.5M13.5 9a2 2 0 1 0 0-4M13 11.5c2.6 0 4.5 1.3 4.5 4.5',
  every: 5,
  can: (scopes) => scopes.some((scope) => ['admin', 'operator'].includes(scope)),
  titleFor: (context) => context.isOperator ? 'Tenants' : 'Keys and audit',

  async load(context) {
    if (context.isOperator) await context.readTenants();
    const id = context.tenant ?? context.session.tenantId;
    const [keys, audit] = await Promise.all([
      api.optional(`/v1/admin/tenants/${id}/keys?limit=50`), api.optional(`/v1/admin/tenants/${id}/audit?limit=50`),
    ]);
    context.data.keys = keys?.items;
    context.data.audit = audit?.items;
  },

  render(context) {
    const lines = [...(context.tenants || [])].sort((one, other) => trouble(other) - trouble(one) || one.name.localeCompare(other.name));
    const name = context.tenant ? context.tenantName(context.tenant) : context.isOperator ? 'the fleet' : 'this tenant';
    return [
      context.isOperator && panel('Tenants', { key: 'tenants', note: context.moreTenants ? 'the first 200' : 'of the last hour' }, table('Tenants', [
        { name: 'Tenant', head: true, cell: (row) => [h('button', { type: 'button', class: 'link', 'data-act': 'choose', 'data-id': row.tenantId }, row.name), row.suspendedAt && h('span', { class: 'chip warn' }, row.deletedAt ? 'being deleted' : 'suspended')] },
        { name: 'Failed, 5 min', numeric: true, cell: (row) => row.failed5m ? h('b', { class: 'failed' }, number(row.failed5m)) : '0' },
        { name: 'Succeeded', numeric: true, wide: true, cell: (row) => row.succeeded + row.failed ? percent(row.succeeded / (row.succeeded + row.failed)) : '–' },
        { name: 'Requests', numeric: true, wide: true, cell: (row) => number(row.succeeded + row.failed) },
        { name: 'Live sandboxes', numeric: true, wide: true, cell: (row) => number(row.liveSandboxes) },
        { name: 'Refused', numeric: true, wide: true, cell: (row) => number(row.deniedCalls) },
        { name: 'Open breakers', numeric: true, cell: (row) => row.openBreakers ? h('span', { class: 'chip bad' }, number(row.openBreakers)) : '0' },
        { name: 'Alerts', numeric: true, cell: (row) => row.firingAlerts ? h('span', { class: 'chip warn' }, number(row.firingAlerts)) : '0' },
      ], lines, { keyOf: (row) => row.tenantId, rowClass: (row) => row.tenantId === context.tenant && 'chosen', none: 'No tenants yet. Make one: POST /v1/admin/tenants.' })),
      context.data.audit && panel(`Audit of ${name}`, { key: 'audit', note: 'who did what, the newest first' }, table('Audit', [
        { name: 'At', head: true, cell: (row) => when(row.at) },
        { name: 'Act', cell: (row) => row.action },
        { name: 'On', class: 'text', cell: (row) => h('code', {}, row.target) },
        { name: 'By', cell: (row) => h('code', {}, row.actor) },
        { name: 'Reason', class: 'text', cell: (row) => row.reason || '' },
        { name: 'From', wide: true, cell: (row) => row.address || '' },
      ], context.data.audit, { stack: true, keyOf: (row) => row.id, none: 'Nobody did anything yet.' })),
      context.data.keys && panel(`Keys of ${name}`, { key: 'keys' }, table('Keys', [
        { name: 'Key', head: true, cell: (row) => h('code', {}, row.id) },
        { name: 'Name', cell: (row) => row.name || '–' },
        { name: 'Scopes', cell: (row) => row.scopes.join(', ') },
        { name: 'Last used', cell: (row) => row.lastUsedAt ? since(row.lastUsedAt) : 'never' },
        { name: 'Made', wide: true, cell: (row) => when(row.createdAt) },
        { name: '', cell: (row) => row.revokedAt ? h('span', { class: 'chip' }, 'revoked') : h('button', { type: 'button', 'data-act': 'revoke', 'data-id': row.id }, 'Revoke') },
      ], context.data.keys, { stack: true, keyOf: (row) => row.id, none: 'No keys.' })),
    ];
  },

  acts: {
    choose: (element, context) => context.chooseTenant(element.dataset.id),
    revoke: async (element, context) => {
      const id = element.dataset.id;
      const own = id === context.session.keyId;
      const answers = await ask({
        title: `Revoke key ${id}`, danger: true, action: 'Revoke',
        effect: `It works nowhere any more, within a second. This cannot be taken back.${own ? ' You are signed in with it: this ends your session.' : ''}`,
        fields: [{ name: 'reason', label: 'Why (kept in the audit)', required: true }],
      });
      if (!answers) return;
      const tenant = context.tenant ?? context.session.tenantId;
      await context.act('The key is revoked', () => api.send('DELETE', `/v1/admin/tenants/${tenant}/keys/${id}?reason=${encodeURIComponent(answers.reason)}`, undefined));
    },
  },
};

const trouble = (line) => line.failed5m * 1000 + line.openBreakers * 100 + line.failed;

/** For screens of one tenant, while none is chosen: who has most, to choose from. */
export function fleetHint(text, context, count, what) {
  const lines = [...(context.tenants || [])].sort((one, other) => count(other) - count(one)).slice(0, 50);
  return panel('Choose a tenant', { key: 'hint', note: text }, lines.length ? h('ul', { class: 'choices' }, lines.map((line) => h('li', { 'data-key': line.tenantId },
    h('button', { type: 'button', 'data-global': 'tenant', 'data-id': line.tenantId }, h('span', {}, line.name), h('span', { class: 'note' }, `${number(count(line))} ${what}`)))))
    : empty('No tenants yet.', 'POST /v1/admin/tenants makes one.'));
}
