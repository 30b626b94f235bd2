'use strict';
// Draws the document of a run, and takes later changes of it. Text goes into the page as text, never as markup.
(() => {
  const byId = id => document.getElementById(id);
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const el = (tag, fields = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(fields)) {
      if (name === 'class') made.className = value;
      else if (value !== null && value !== false) made.setAttribute(name, value === true ? '' : value);
    }
    made.append(...children.filter(child => child !== null && child !== undefined));
    return made;
  };

  // -- words --------------------------------------------------------------------------------------------------

  const { duration, moment, zone, count, counted } = window.cascadeWords;
  // Of another day than that on which the run began, the date is said too.
  const clock = t => window.cascadeWords.clock(t, D.run.started);
  const named = node => node.label ? `${node.id} (${node.label})` : node.id;
  const SHOWN = {
    running: '▶ running', succeeded: '✓ succeeded', failed: '✗ failed', cancelled: '⊘ cancelled',
    drained: '⊘ drained', suspended: '… suspended', interrupted: '⊘ interrupted',
  };
  const CLASSES = { succeeded: 'ok', failed: 'bad', handled: 'handled', cancelled: 'warn', waiting: 'warn' };
  const WORDS = { handled: 'failed, handled' };
  const worded = status => status === 'pending' ? (D.run.status === 'running' ? 'not begun' : 'did not run') : WORDS[status] || status;
  const moreOf = (n, what) => n ? el('p', { class: 'note' }, `${counted(n, what)} ${n === 1 ? 'is' : 'are'} not shown here.`) : null;

  // -- tables -------------------------------------------------------------------------------------------------

  // Names are broken after what divides their words, where they have to be.
  const cell = (content, kind) => kind !== 'name' ? [content] : content.split(/(?<=[_/.])/).flatMap((part, i) => i ? [el('wbr'), part] : [part]);
  // Columns: [head, function from row to text or element, class]. Columns that are empty everywhere are left out.
  // The label names what can be scrolled. Where there is little room, each cell says its head, and rows stand in several lines.
  const table = (label, columns, rows) => {
    const cells = rows.map(row => columns.map(([, content]) => content(row)));
    const kept = columns.map((_, i) => i).filter(i => cells.some(row => row[i] !== '' && row[i] !== null));
    const head = el('tr', {}, ...kept.map(i => el('th', { scope: 'col', class: columns[i][2] || '' }, columns[i][0])));
    const body = cells.map(row => el('tr', {}, ...kept.map(i => el('td', { class: columns[i][2] || '', 'data-head': columns[i][0] }, ...cell(row[i] ?? '', columns[i][2])))));
    return el('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': label }, el('table', {}, el('thead', {}, head), el('tbody', {}, ...body)));
  };
  const show = (id, ...content) => {
    const place = byId(id), parts = content.filter(Boolean);
    place.replaceChildren(...parts);
    place.closest('section').hidden = !parts.length;
  };
  const status = word => el('span', { class: CLASSES[word] || '' }, worded(word));

  // Where a node ran, in a few words: a thread is known by its number.
  const where = worker => worker.replace(/ of process \d+$/, '');

  // -- sections -----------------------------------------------------------------------------------------------

  let D = null;
  const now = () => D.run.finished ?? D.timeline.now;
  const draw = {
    run() {
      const r = D.run, c = r.counts, root = document.documentElement;
      root.dataset.status = r.status;
      byId('title').textContent = document.title = `run ${r.name || r.id}`;
      byId('status').textContent = SHOWN[r.status] || r.status;
      const ended = c.succeeded + c.failed + c.handled + c.cancelled + c.skipped + c.cached + c.recorded;
      const parts = [
        [c.succeeded, 'succeeded'], [c.failed, 'failed'], [c.handled, 'failed (handled)'],
        [c.running, 'running'], [c.waiting, 'waiting'], [c.cancelled, 'cancelled'], [c.skipped, 'skipped'], [c.cached, 'from the cache'],
        [c.recorded, 'recorded earlier'], [c.undone, 'undone'],
      ].filter(([n]) => n);
      const all = Math.max(r.total ?? 0, ended + c.running + c.waiting);
      const facts = [
        ['Nodes', (parts.map(([n, word]) => `${count(n)} ${word}`).join(', ') || 'nothing ran')
          + (all > ended + c.running + c.waiting ? ` of ${count(all)}` : '')],
        ['Began', r.started ? `${moment(r.started)} ${zone(r.started)}` : '?'],
        [r.finished ? 'Took' : 'For', r.started ? duration(now() - r.started) : '?'],
        ['Retries', c.retries ? count(c.retries) : ''],
        ['Begun', r.epoch > 1 ? `${r.epoch} times` : ''],
        ['Stage', r.stage === null || r.status !== 'running' ? '' : String(r.stage)],
        ['Turns', r.turns === null ? '' : count(r.turns)],
        ['Returns', r.targets.join(', ') + (r.targets_left_out ? ` and ${r.targets_left_out} more` : '')],
        ['Parameters', Object.entries(r.params).map(([name, value]) => `${name}=${value}`).join(', ')],
      ].filter(([, text]) => text);
      const bar = el('div', { class: 'bar', role: 'img', 'aria-label': `${ended} of ${all} nodes have ended` });
      for (const [n, kind] of [
        [c.succeeded + c.cached + c.recorded, 'succeeded'], [c.failed, 'failed'], [c.handled, 'handled'], [c.cancelled + c.skipped, 'other'],
        [c.running, 'running'], [c.waiting, 'waiting'],
      ]) if (n && all) { const part = el('span', { class: `is-${kind}` }); part.style.width = `${100 * n / all}%`; bar.append(part); }
      byId('summary').replaceChildren(
        el('dl', { class: 'facts' }, ...facts.map(([k, v]) => el('div', {}, el('dt', {}, k), el('dd', {}, v)))), bar,
        ...(r.error ? [el('p', { class: 'error' }, r.error)] : []));
    },
    failures() {
      const open = new Set([...byId('failures').querySelectorAll('details[open]')].map(d => d.dataset.id));
      const isFirst = !byId('failures').childElementCount;
      show('failures', ...D.failures.map((f, i) => {
        const key = `${f.started}:${f.id}`;
        const details = el('details', { 'data-id': key, open: isFirst ? i === 0 && D.run.status !== 'running' : open.has(key) });
        const facts = [
          f.started ? `began ${clock(f.started)}` : '', f.duration !== null && f.attempts ? `took ${duration(f.duration)}` : '',
          f.attempts > 1 ? `${f.attempts} attempts` : f.attempts ? '' : 'before it began', f.worker ? `on ${f.worker}` : '',
          f.handled ? 'handled: the run does not fail by it' : '',
        ].filter(Boolean).join(', ');
        details.append(el('summary', {}, el('strong', {}, named(f)), el('span', { class: f.handled ? 'handled' : 'bad' }, `${f.error || ''}${f.handled ? ' (handled)' : ''}`)),
          el('p', { class: 'note' }, facts));
        if (f.arguments.length) details.append(el('div', {}, 'called with ', ...f.arguments.flatMap(([name, text], n) => [n ? ', ' : '', el('code', {}, name ? `${name}=${text}` : text)])));
        if (f.caused_by) details.append(el('p', {}, `This is the failure of ${f.caused_by}.`));
        if (f.earlier.length) details.append(table(`Earlier attempts of ${f.id}`, [
          ['earlier attempt', a => String(a.attempt), 'number'], ['at', a => a.at ? clock(a.at) : '', 'word'], ['error', a => a.error],
        ], f.earlier));
        if (f.remarks.length) details.append(table(`Remarks on ${f.id}`, [['at', a => clock(a.at), 'word'], ['what', a => a.text]], f.remarks));
        if (f.traceback) details.append(el('pre', { tabindex: '0', 'aria-label': `Traceback of ${f.id}` }, f.traceback));
        if (f.log) details.append(el('p', { class: 'note' }, 'It wrote:'), el('pre', { tabindex: '0', 'aria-label': `Output of ${f.id}` }, f.log));
        return details;
      }), moreOf(D.left_out.failures, 'failure'));
    },
    // What is there already stays as it is: somebody may be reading it. The newest is in sight for whoever has not scrolled away.
    outputs() {
      const place = byId('outputs'), isAtEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 4, news = new Map(D.outputs.map(o => [`${o.at}:${o.id}`, o]));
      for (const known of [...place.children]) if (!news.delete(known.dataset.id)) known.remove();
      for (const [key, o] of news) {
        const facts = [o.started ? `began ${clock(o.started)}` : '', o.worker ? `on ${where(o.worker)}` : '', o.status === 'succeeded' ? '' : o.status].filter(Boolean).join(', ');
        place.append(el('details', { 'data-id': key }, el('summary', {}, el('strong', {}, named(o)), el('span', { class: 'muted' }, facts)),
          el('pre', { tabindex: '0', 'aria-label': `Output of ${o.id}` }, o.text)));
      }
      const more = D.left_out.outputs;
      byId('outputs-more').textContent = more ? `${counted(more, 'node')} more wrote something: cascade show RUN NODE --log` : '';
      place.closest('section').hidden = !D.outputs.length && !more;
      if (isAtEnd && news.size) place.scrollTop = place.scrollHeight;
    },
    active() {
      const t = now();
      show('waiting', D.active.length ? table('Now', [
        ['node', named, 'name'], ['for', a => duration(t - a.since), 'number'],
        ['state', a => el('span', { class: a.waits ? 'warn' : '' }, a.waits || 'running')],
      ], D.active) : null, moreOf(D.left_out.active, 'node'));
    },
    tasks() {
      show('tasks', D.tasks.length ? table('Tasks', [
        ['task', t => t.name, 'name'], ['nodes', t => count(t.total), 'number'],
        ['succeeded', t => t.succeeded + t.cached + t.recorded ? count(t.succeeded + t.cached + t.recorded) : '', 'number'],
        ['failed', t => t.failed ? el('span', { class: 'bad' }, count(t.failed)) : '', 'number'],
        ['handled', t => t.handled ? el('span', { class: 'handled' }, count(t.handled)) : '', 'number'],
        ['skipped', t => t.skipped ? count(t.skipped) : '', 'number'],
        ['cancelled', t => t.cancelled ? count(t.cancelled) : '', 'number'],
        ['retries', t => t.retries ? count(t.retries) : '', 'number'],
        ['time in all', t => t.ran ? duration(t.seconds) : '', 'number'],
        ['mean', t => t.ran ? duration(t.seconds / t.ran) : '', 'number'],
      ], D.tasks) : null, moreOf(D.left_out.tasks, 'task'));
    },
    critical() {
      const total = D.critical.length ? D.critical.at(-1).ended - D.critical[0].started : 0;
      show('critical', D.critical.length > 1 ? el('p', { class: 'note' },
        'From the node that ended last back to the one that it had to wait for, and so on: to make the run shorter, shorten these.') : null,
      D.critical.length > 1 ? table('Critical path', [
        ['node', named, 'name'], ['began', s => `+${duration(Math.max(s.started - D.run.started, 0))}`, 'number'],
        ['waited', s => s.waited >= 0.001 ? duration(s.waited) : '', 'number'],
        ['took', s => duration(s.ended - s.started), 'number'],
        ['share', s => total > 0 ? `${Math.round(100 * (s.ended - s.started) / total)} %` : '', 'number'],
      ], D.critical) : null, D.critical.length > 1 ? moreOf(D.left_out.critical, 'earlier node') : null);
    },
    slowest() {
      show('slowest', D.slowest.length > 1 ? table('Slowest nodes', [
        ['node', named, 'name'], ['began', s => s.started ? `+${duration(Math.max(s.started - D.run.started, 0))}` : '', 'number'],
        ['took', s => duration(s.duration), 'number'], ['where', s => where(s.worker || ''), 'word'], ['ended', s => status(s.status), 'word'],
      ], D.slowest) : null);
    },
    waits() {
      show('waits', D.waits.length ? table('Waits', [
        ['reason', w => w.reason, 'name'], ['times', w => count(w.count), 'number'], ['in all', w => duration(w.seconds), 'number'],
        ['mean', w => duration(w.seconds / w.count), 'number'],
      ], D.waits) : null);
    },
    retries() {
      show('retries', D.retries.length ? table('Retries', [
        ['node', named, 'name'], ['attempt', r => r.most ? `${r.attempt} of ${r.most}` : String(r.attempt), 'number'],
        ['at', r => r.at ? clock(r.at) : '', 'word'], ['next after', r => r.delay === null ? '' : duration(r.delay), 'number'], ['error', r => r.error || ''],
      ], D.retries) : null, D.left_out.retries ? el('p', { class: 'note' }, `${count(D.left_out.retries)} earlier ones are not shown here.`) : null);
    },
    signals() {
      show('signals', D.signals.length ? table('Signals', [
        ['signal', s => s.name, 'name'], ['at', s => s.at ? clock(s.at) : '', 'word'],
        ['value', s => (s.preview || '') + (s.is_default ? ' (the default, as none came in time)' : '')],
      ], D.signals) : null);
    },
    warnings() {
      show('warnings', D.warnings.length ? table('Warnings', [
        ['at', w => clock(w.at), 'word'], ['code', w => w.code], ['warning', w => w.message],
      ], D.warnings) : null);
    },
    graph() {
      for (const [key, { box, name }] of boxes) {
        const state = D.graph.boxes[key] || { status: 'pending', text: '' };
        const kept = [...box.classList].filter(name => !name.startsWith('cascade-is-'));
        box.setAttribute('class', [...kept, `cascade-is-${state.status}`].join(' '));
        box.querySelector('.cascade-state').textContent = state.text;
        box.querySelector('title').textContent = D.graph.boxes[key] ? `${name}: ${worded(state.status)}` : name;
      }
      graph.draw();
    },
    timeline() { timeline.draw(); },
    left_out() {},
  };

  // -- graph --------------------------------------------------------------------------------------------------

  const boxes = new Map();
  const MARKS = { succeeded: '✓', failed: '✗', handled: '!', running: '▶', waiting: '…', cancelled: '⊘', skipped: '-', pending: '' };
  const graph = {
    lines: [], isChosen: false,
    find() {
      boxes.clear();
      for (const box of byId('graph').querySelectorAll('[data-node]')) {
        boxes.set(box.dataset.node, { box, name: box.querySelector('title').textContent });
        box.addEventListener('click', () => choose(box.dataset.node));
      }
      const words = byId('graph').querySelector('desc');
      this.lines = words ? words.textContent.split('\n').map(line => line.replace(/: (failed, handled|[a-z]+)$/, '')) : [];
    },
    draw() {
      const statusOf = key => (D.graph.boxes[key] || { status: 'pending' }).status, keys = [...boxes.keys()];
      const words = byId('graph').querySelector('desc');
      // What is said of the boxes in words is in their order; the last line may be about those that it leaves out.
      if (words) words.textContent = this.lines.map((line, i) => D.graph.boxes[keys[i]] && !(i === 60) ? `${line}: ${worded(statusOf(keys[i]))}` : line).join('\n');
      // For routers and their like nothing runs, so they have no status; where boxes stand for tasks, they are none.
      const runs = key => D.graph.boxes[key] || (D.graph.is_grouped ? D.tasks.some(task => task.name === key)
        : !boxes.get(key).box.matches('.cascade-router, .cascade-settled, .cascade-or_else, .cascade-race'));
      const calls = keys.filter(runs);
      const present = new Set(calls.map(statusOf));
      const shown = Object.keys(MARKS).filter(status => present.has(status));
      byId('graph-legend').replaceChildren(...shown.map(status => el('li', {}, el('b', { class: `mark is-${status}` }, MARKS[status]), ` ${worded(status)}`)));
      this.measure();
    },
    // The picture is as wide as there is room for, unless its letters are too small then. Who wants to can see all of
    // it, or its full size.
    fit(how) {
      byId('graph').dataset.fit = how;
      for (const button of byId('graph-fit').children) button.setAttribute('aria-pressed', String(button.dataset.fit === how));
    },
    measure() {
      const svg = byId('graph').querySelector('svg'), place = byId('graph');
      if (!svg) return;
      const width = Number(svg.getAttribute('width'));
      if (!this.isChosen) this.fit(place.clientWidth >= 0.6 * width ? 'width' : 'full');
      byId('graph-fit').hidden = width <= place.clientWidth && Number(svg.getAttribute('height')) <= 640;
    },
  };
  for (const button of byId('graph-fit').children) button.addEventListener('click', () => { graph.isChosen = true; graph.fit(button.dataset.fit); });
  // The box of a node; of an item, that of its map; of what is in no box, that of the node it comes from.
  const boxOf = id => {
    for (let within = id, before = null; within !== before;) {
      const found = boxes.get(within) || boxes.get(within.replace(/#\d+$/, ''));
      if (found) return found.box;
      before = within;
      within = within.replace(/(\[\d+\]|\/[^/]*)$/, '');
    }
    return null;
  };
  const choose = id => {
    for (const { box } of boxes.values()) box.classList.remove('chosen');
    const box = boxOf(id);
    if (box) box.classList.add('chosen');
    window.cascadePage.onSelect(id);
  };

  const timeline = window.cascadeTimeline({
    byId, css, el, duration, clock, count, counted, now, choose, where, get document() { return D; },
  });

  // -- entry points ---------------------------------------------------------------------------------------------

  const dirty = new Set();
  let isPlanned = false;
  const redraw = (...names) => {
    for (const name of names) dirty.add(name);
    if (!isPlanned) { isPlanned = true; requestAnimationFrame(flush); }
  };
  const flush = () => {
    isPlanned = false;
    const names = [...dirty];
    dirty.clear();
    for (const name of names) if (draw[name]) draw[name]();
  };
  const page = window.cascadePage = {
    document: null,
    settings: JSON.parse(byId('settings').textContent),
    slots: { controls: byId('controls'), beforeTimeline: byId('before-timeline'), afterTimeline: byId('after-timeline') },
    onSelect() {},
    duration, clock, moment, count, el, table,
    // Draw a whole document.
    start(document_) {
      page.document = D = document_;
      for (const name of Object.keys(draw)) dirty.add(name);
      flush();
    },
    // Take in what has changed, and draw that soon.
    update(changes) {
      if (!D) page.document = D = { bars: [] };
      if (changes.bars) D.bars.splice(changes.bars.from, Infinity, ...changes.bars.add);
      Object.assign(D, changes.sections || {});
      if (!D.run) return;
      redraw(...Object.keys(changes.sections || {}), 'run', 'active', 'timeline');
    },
    // Show another picture of the graph, as SVG.
    drawGraph(svg) {
      const parsed = new DOMParser().parseFromString(svg, 'image/svg+xml').documentElement;
      if (parsed.nodeName !== 'svg') return;
      byId('graph').replaceChildren(document.importNode(parsed, true));
      byId('graph').closest('section').hidden = false;
      graph.find();
      if (D && D.graph) redraw('graph');
    },
  };
  graph.find();
  addEventListener('resize', () => { graph.measure(); if (D) redraw('timeline'); });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => D && redraw('timeline'));
  const given = JSON.parse(byId('data').textContent);
  if (given) page.start(given);
})();
