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

  const duration = s => {
    if (!(s >= 0) || s === Infinity) return '?';
    if (s < 0.9995) return s > 0 && s < 0.0005 ? '<1 ms' : `${Math.round(s * 1000)} ms`;
    if (s < 59.95) return `${s.toFixed(1)} s`;
    const pairs = [[60, 1, 'min', 's'], [3600, 60, 'h', 'min'], [86400, 3600, 'd', 'h']];
    const [large, small, one, other] = pairs.find(([l, m], i) => i === 2 || Math.round(s / m) * m < pairs[i + 1][0]);
    const total = Math.round(s / small), per = large / small, many = Math.floor(total / per), few = total % per;
    return few ? `${many} ${one} ${few} ${other}` : `${many} ${one}`;
  };
  const two = n => String(n).padStart(2, '0');
  const clock = t => { const d = new Date(t * 1000); return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`; };
  const moment = t => {
    const d = new Date(t * 1000);
    return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(t)}`;
  };
  const count = n => String(n).replace(/\B(?=(\d{3})+$)/g, '\u202f');
  const counted = (n, noun) => `${count(n)} ${noun}${n === 1 ? '' : 's'}`;
  const named = node => node.label ? `${node.id} (${node.label})` : node.id;
  const SHOWN = {
    running: '▶ running', succeeded: '✓ succeeded', failed: '✗ failed', cancelled: '⊘ cancelled',
    drained: '⊘ drained', suspended: '… suspended', interrupted: '⊘ interrupted',
  };
  const CLASSES = { succeeded: 'ok', failed: 'bad', cancelled: 'warn', waiting: 'warn' };
  const moreOf = (n, what) => n ? el('p', { class: 'note' }, `${counted(n, what)} more ${n === 1 ? 'is' : 'are'} not shown here.`) : null;

  // -- tables -------------------------------------------------------------------------------------------------

  // Columns: [head, function from row to text or element, class]. Columns that are empty everywhere are left out.
  const table = (columns, rows) => {
    const cells = rows.map(row => columns.map(([, cell]) => cell(row)));
    const kept = columns.map((_, i) => i).filter(i => cells.some(row => row[i] !== '' && row[i] !== null));
    const head = el('tr', {}, ...kept.map(i => el('th', { scope: 'col', class: columns[i][2] || '' }, columns[i][0])));
    const body = cells.map(row => el('tr', {}, ...kept.map(i => el('td', { class: columns[i][2] || '' }, row[i] ?? ''))));
    return el('div', { class: 'scroll' }, el('table', {}, el('thead', {}, head), el('tbody', {}, ...body)));
  };
  const show = (id, ...content) => {
    const place = byId(id), parts = content.filter(Boolean);
    place.replaceChildren(...parts);
    place.closest('section').hidden = !parts.length;
  };
  const status = word => el('span', { class: CLASSES[word] || '' }, word);

  // -- sections -----------------------------------------------------------------------------------------------

  let D = null;
  const now = () => D.run.finished ?? D.timeline.now;
  const draw = {
    run() {
      const r = D.run, c = r.counts, root = document.documentElement;
      root.dataset.status = r.status;
      byId('title').textContent = document.title = `run ${r.name || r.id}`;
      byId('status').textContent = SHOWN[r.status] || r.status;
      const ended = c.succeeded + c.failed + c.cancelled + c.skipped + c.cached + c.recorded;
      const parts = [
        [c.succeeded, 'succeeded'], [c.failed, 'failed'], [c.running, 'running'], [c.waiting, 'waiting'],
        [c.cancelled, 'cancelled'], [c.skipped, 'skipped'], [c.cached, 'from the cache'],
        [c.recorded, 'recorded earlier'], [c.undone, 'undone'],
      ].filter(([n]) => n);
      const all = Math.max(r.total ?? 0, ended + c.running + c.waiting);
      const facts = [
        ['Nodes', (parts.map(([n, word]) => `${count(n)} ${word}`).join(', ') || 'nothing ran')
          + (all > ended + c.running + c.waiting ? ` of ${count(all)}` : '')],
        ['Began', r.started ? moment(r.started) : '?'],
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
        [c.succeeded + c.cached + c.recorded, 'succeeded'], [c.failed, 'failed'], [c.cancelled + c.skipped, 'other'],
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
        const details = el('details', { 'data-id': `${i}:${f.id}`, open: isFirst ? i === 0 && D.run.status !== 'running' : open.has(`${i}:${f.id}`) });
        const facts = [
          f.started ? `began ${clock(f.started)}` : '', f.duration !== null && f.attempts ? `took ${duration(f.duration)}` : '',
          f.attempts > 1 ? `${f.attempts} attempts` : f.attempts ? '' : 'before it began', f.worker ? `on ${f.worker}` : '',
          f.handled ? 'handled: the run does not fail by it' : '',
        ].filter(Boolean).join(', ');
        details.append(el('summary', {}, el('strong', {}, named(f)), el('span', { class: f.handled ? 'warn' : 'bad' }, f.error || '')),
          el('p', { class: 'note' }, facts));
        if (f.arguments.length) details.append(el('div', {}, 'called with ', ...f.arguments.flatMap(([name, text], n) => [n ? ', ' : '', el('code', {}, name ? `${name}=${text}` : text)])));
        if (f.caused_by) details.append(el('p', {}, `This is the failure of ${f.caused_by}.`));
        if (f.earlier.length) details.append(table([
          ['earlier attempt', a => String(a.attempt), 'number'], ['at', a => a.at ? clock(a.at) : '', 'word'], ['error', a => a.error],
        ], f.earlier));
        if (f.remarks.length) details.append(table([['at', a => clock(a.at), 'word'], ['what', a => a.text]], f.remarks));
        if (f.traceback) details.append(el('pre', { tabindex: '0', 'aria-label': `Traceback of ${f.id}` }, f.traceback));
        if (f.log) details.append(el('p', { class: 'note' }, 'It wrote:'), el('pre', { tabindex: '0', 'aria-label': `Output of ${f.id}` }, f.log));
        return details;
      }), moreOf(D.left_out.failures, 'failure'));
    },
    active() {
      const t = now();
      show('waiting', D.active.length ? table([
        ['node', named, 'name'], ['for', a => duration(t - a.since), 'number'],
        ['state', a => el('span', { class: a.waits ? 'warn' : '' }, a.waits || 'running')],
      ], D.active) : null, moreOf(D.left_out.active, 'node'));
    },
    tasks() {
      show('tasks', D.tasks.length ? table([
        ['task', t => t.name, 'name'], ['nodes', t => count(t.total), 'number'],
        ['succeeded', t => t.succeeded + t.cached + t.recorded ? count(t.succeeded + t.cached + t.recorded) : '', 'number'],
        ['failed', t => t.failed ? el('span', { class: 'bad' }, count(t.failed)) : '', 'number'],
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
      D.critical.length > 1 ? table([
        ['node', named, 'name'], ['began', s => `+${duration(Math.max(s.started - D.run.started, 0))}`, 'number'],
        ['waited', s => s.waited >= 0.001 ? duration(s.waited) : '', 'number'],
        ['took', s => duration(s.ended - s.started), 'number'],
        ['share', s => total > 0 ? `${Math.round(100 * (s.ended - s.started) / total)} %` : '', 'number'],
      ], D.critical) : null, D.critical.length > 1 ? moreOf(D.left_out.critical, 'earlier node') : null);
    },
    slowest() {
      show('slowest', D.slowest.length > 1 ? table([
        ['node', named, 'name'], ['began', s => s.started ? `+${duration(Math.max(s.started - D.run.started, 0))}` : '', 'number'],
        ['took', s => duration(s.duration), 'number'], ['where', s => s.worker || ''], ['ended', s => status(s.status), 'word'],
      ], D.slowest) : null);
    },
    waits() {
      show('waits', D.waits.length ? table([
        ['reason', w => w.reason, 'name'], ['times', w => count(w.count), 'number'], ['in all', w => duration(w.seconds), 'number'],
        ['mean', w => duration(w.seconds / w.count), 'number'],
      ], D.waits) : null);
    },
    retries() {
      show('retries', D.retries.length ? table([
        ['node', named, 'name'], ['attempt', r => r.most ? `${r.attempt} of ${r.most}` : String(r.attempt), 'number'],
        ['at', r => r.at ? clock(r.at) : '', 'word'], ['next after', r => r.delay === null ? '' : duration(r.delay), 'number'], ['error', r => r.error || ''],
      ], D.retries) : null, D.left_out.retries ? el('p', { class: 'note' }, `${count(D.left_out.retries)} earlier ones are not shown here.`) : null);
    },
    signals() {
      show('signals', D.signals.length ? table([
        ['signal', s => s.name, 'name'], ['at', s => s.at ? clock(s.at) : '', 'word'], ['value', s => s.preview || ''],
        ['', s => s.is_default ? 'the default, as none came in time' : ''],
      ], D.signals) : null);
    },
    warnings() {
      show('warnings', D.warnings.length ? table([
        ['at', w => clock(w.at), 'word'], ['code', w => w.code], ['warning', w => w.message],
      ], D.warnings) : null);
    },
    graph() {
      for (const [key, box] of boxes) {
        const state = D.graph.boxes[key] || { status: 'pending', text: '' };
        const kept = [...box.classList].filter(name => !name.startsWith('cascade-is-'));
        box.setAttribute('class', [...kept, `cascade-is-${state.status}`].join(' '));
        box.querySelector('.cascade-state').textContent = state.text;
      }
    },
    timeline() { timeline.draw(); },
    left_out() {},
  };

  // -- graph --------------------------------------------------------------------------------------------------

  const boxes = new Map();
  const findBoxes = () => {
    boxes.clear();
    for (const box of byId('graph').querySelectorAll('[data-node]')) {
      boxes.set(box.dataset.node, box);
      box.addEventListener('click', () => choose(box.dataset.node));
    }
  };
  // The box of a node; of an item, that of its map; of what is in no box, that of the node it comes from.
  const boxOf = id => {
    for (let within = id, before = null; within !== before;) {
      const box = boxes.get(within) || boxes.get(within.replace(/#\d+$/, ''));
      if (box) return box;
      before = within;
      within = within.replace(/(\[\d+\]|\/[^/]*)$/, '');
    }
    return null;
  };
  const choose = id => {
    for (const box of boxes.values()) box.classList.remove('chosen');
    const box = boxOf(id);
    if (box) box.classList.add('chosen');
    window.cascadePage.onSelect(id);
  };

  // -- timeline -----------------------------------------------------------------------------------------------

  const PALETTE = ['#4c8dff', '#e0823d', '#3fa66b', '#b46be0', '#d9a521', '#2fb3b8', '#e0609a', '#8a8f3a', '#7a86e8', '#a86f4f', '#5aa9d6', '#8b949e'];
  const MOST_ROWS = 300;
  const timeline = {
    hits: [], hovered: null,
    colours() {
      const names = D.timeline.activity ? D.timeline.activity.names : [];
      return name => name === 'others' || !names.includes(name) ? PALETTE[11] : PALETTE[names.indexOf(name) % 11];
    },
    // Bars of one worker that do not overlap share a row; where the worker is not known, so do any.
    packed() {
      const t = D.timeline, end = now();
      const bars = D.bars.map(b => ({ start: b[0], end: b[1], status: b[2], id: b[3], task: t.task_names[b[4]], worker: b[5] < 0 ? '' : t.workers[b[5]], attempts: b[6], reason: b[7] }));
      for (const a of D.active) bars.push({ start: a.since, end: Math.max(end, a.since), status: a.waits ? 'waiting' : 'running', id: a.id, task: a.task, worker: '', attempts: 1, reason: a.waits });
      bars.sort((a, b) => a.start - b.start || a.end - b.end);
      const groups = new Map();
      for (const bar of bars) {
        if (!groups.has(bar.worker)) groups.set(bar.worker, []);
        const rows = groups.get(bar.worker);
        let row = rows.find(r => r.end <= bar.start + 1e-9);
        if (!row) { row = { end: 0, bars: [], worker: bar.worker }; rows.push(row); }
        row.end = bar.end; row.bars.push(bar);
      }
      return [...groups.keys()].sort().flatMap(worker => groups.get(worker));
    },
    span() {
      const starts = D.bars.map(b => b[0]), begin = Math.min(D.run.started ?? Infinity, ...starts);
      const end = Math.max(now(), D.run.finished ?? 0, ...D.bars.map(b => b[1]));
      return [begin, Math.max(end - begin, 1e-3)];
    },
    draw() {
      const place = byId('timeline'), rows = this.packed();
      place.closest('section').hidden = !rows.length;
      if (!rows.length) return;
      if (!place.childElementCount) this.build(place);
      const [begin, span] = this.span();
      this.legend(place.querySelector('.legend'));
      this.activity(place.querySelector('.activity'), begin, span);
      this.lanes(place.querySelector('.lanes canvas'), rows, begin, span);
      const shown = D.bars.length, all = shown + D.left_out.bars;
      place.querySelector('.note').textContent = [
        D.left_out.bars ? `Of ${count(all)} bars ${count(shown)} are shown: the failed, the longest, and a sample of the others. The curve above counts them all.` : '',
        rows.length > MOST_ROWS ? `${count(rows.length - MOST_ROWS)} more rows are not drawn.` : '',
        D.run.source === 'records' ? 'Beginnings are taken from when the store was told of the ends, and from how long nodes took.' : '',
      ].filter(Boolean).join(' ');
    },
    build(place) {
      const canvas = el('canvas', { role: 'img' });
      place.append(
        el('div', { class: 'chart' }, el('canvas', { class: 'activity', role: 'img' })), el('ul', { class: 'legend' }),
        el('div', { class: 'chart lanes', tabindex: '0', role: 'group', 'aria-label': 'Bars of nodes' }, canvas), el('p', { class: 'note' }));
      canvas.addEventListener('mousemove', event => this.hover(event));
      canvas.addEventListener('mouseleave', () => { byId('tip').hidden = true; });
      canvas.addEventListener('click', event => { const bar = this.at(event); if (bar) choose(bar.id); });
    },
    legend(place) {
      const colour = this.colours(), names = D.timeline.activity ? D.timeline.activity.names : [];
      const entries = [...names.map(name => [name, colour(name)])];
      if (D.bars.some(b => b[2] === 'failed')) entries.push(['failed', css('--bad')]);
      if (D.bars.some(b => b[2] === 'waiting') || D.active.some(a => a.waits)) entries.push(['waits', css('--warn-soft')]);
      if (D.bars.some(b => b[2] === 'cancelled')) entries.push(['cancelled', css('--idle-soft')]);
      place.replaceChildren(...entries.map(([name, paint]) => {
        const patch = el('i'); patch.style.background = paint; patch.style.outline = `1px solid ${css('--line')}`;
        return el('li', {}, patch, name);
      }));
    },
    context(canvas, height) {
      const width = canvas.parentElement.clientWidth, scale = Math.min(devicePixelRatio || 1, 2);
      canvas.style.height = `${height}px`;
      canvas.width = Math.round(width * scale); canvas.height = Math.round(height * scale);
      const g = canvas.getContext('2d');
      g.scale(scale, scale); g.font = '11px system-ui, sans-serif'; g.textBaseline = 'middle';
      return [g, width];
    },
    ticks(g, width, top, bottom, span) {
      const least = span / Math.max(width / 110, 1);
      const steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 172800, 604800];
      const step = steps.find(s => s >= least) || least;
      g.fillStyle = css('--muted'); g.strokeStyle = css('--line'); g.lineWidth = 1;
      for (let t = 0; t <= span; t += step) {
        const x = Math.round(t / span * width) + 0.5;
        g.beginPath(); g.moveTo(x, top); g.lineTo(x, bottom); g.stroke();
        if (x < width - 50) g.fillText(t ? duration(t) : '0', x + 3, bottom + 8);
      }
    },
    activity(canvas, begin, span) {
      const a = D.timeline.activity, height = 110, foot = 18;
      const [g, width] = this.context(canvas, height);
      if (!a || !a.names.length) { canvas.style.height = '0'; return; }
      const bins = Math.max(...a.rows.map(r => r.length)), sums = new Array(bins).fill(0);
      for (const row of a.rows) row.forEach((n, i) => { sums[i] += n; });
      const most = Math.max(...sums, 1e-9), colour = this.colours();
      this.ticks(g, width, 0, height - foot, span);
      const below = new Array(bins).fill(0);
      a.names.forEach((name, k) => {
        g.fillStyle = colour(name);
        a.rows[k].forEach((n, i) => {
          if (!n) return;
          const x = (a.start + i * a.width - begin) / span * width, w = Math.max(a.width / span * width, 1);
          const h = n / most * (height - foot - 6), y = height - foot - h - below[i];
          below[i] += h;
          g.fillRect(x, y, Math.min(w + 0.5, width - x), h);
        });
      });
      g.fillStyle = css('--muted');
      const peak = most >= 10 ? Math.round(most) : Math.round(most * 10) / 10;
      const text = `peak: ${peak} at work`;
      const w = g.measureText(text).width + 8;
      g.fillStyle = css('--card'); g.globalAlpha = 0.8; g.fillRect(width - w - 2, 1, w, 15); g.globalAlpha = 1;
      g.fillStyle = css('--muted'); g.fillText(text, width - w + 2, 9);
      canvas.setAttribute('aria-label', `How many nodes were at work over ${duration(span)}: at most ${peak} at a time. Tasks: ${a.names.join(', ')}.`);
    },
    lanes(canvas, all, begin, span) {
      const rows = all.slice(0, MOST_ROWS), named = rows.some(r => r.worker), foot = 18;
      const h = rows.length <= 24 ? 18 : rows.length <= 60 ? 10 : 5, gutter = named ? 150 : 0;
      const [g, width] = this.context(canvas, rows.length * h + foot), room = width - gutter;
      const colour = this.colours(), bad = css('--bad'), warn = css('--warn'), warnSoft = css('--warn-soft'), idle = css('--idle');
      g.save(); g.translate(gutter, 0); this.ticks(g, room, 0, rows.length * h, span); g.restore();
      this.hits = [];
      rows.forEach((row, i) => {
        const y = i * h;
        if (named && (i === 0 || rows[i - 1].worker !== row.worker)) {
          g.fillStyle = css('--muted');
          let text = row.worker || 'elsewhere';
          while (text.length > 4 && g.measureText(text).width > gutter - 10) text = `${text.slice(0, -2)}…`;
          g.fillText(text, 0, y + Math.max(h / 2, 5));
        }
        for (const bar of row.bars) {
          const x = gutter + (bar.start - begin) / span * room, w = Math.max((bar.end - bar.start) / span * room, 1.5);
          g.fillStyle = bar.status === 'failed' ? bad : bar.status === 'waiting' ? warnSoft : bar.status === 'cancelled' ? idle : colour(bar.task);
          g.fillRect(x, y + (h > 6 ? 1 : 0), w, h - (h > 6 ? 2 : 1));
          if (bar.status === 'waiting' && h > 6 && w > 3) { g.strokeStyle = warn; g.setLineDash([3, 2]); g.strokeRect(x + 0.5, y + 1.5, w - 1, h - 3); g.setLineDash([]); }
          if (h > 14 && w > 40) {
            g.fillStyle = bar.status === 'waiting' ? css('--fg') : '#ffffff';
            let text = bar.status === 'waiting' ? bar.reason || bar.id : bar.id;
            while (text.length > 2 && g.measureText(text).width > w - 8) text = `${text.slice(0, -2)}…`;
            if (text.length > 2) g.fillText(text, x + 4, y + h / 2 + 0.5);
          }
          this.hits.push([x, y, Math.max(w, 3), h, bar]);
        }
      });
      canvas.setAttribute('aria-label', `${counted(this.hits.length, 'bar')} in ${counted(rows.length, 'row')}, over ${duration(span)}. The tables below say the same of the slowest nodes, of failures and waits.`);
    },
    at(event) {
      const x = event.offsetX, y = event.offsetY;
      const hit = this.hits.findLast(([left, top, w, h]) => x >= left - 1 && x <= left + w + 1 && y >= top && y < top + h);
      return hit ? hit[4] : null;
    },
    hover(event) {
      const bar = this.at(event), tip = byId('tip');
      tip.hidden = !bar;
      if (!bar) return;
      const took = duration(bar.end - bar.start);
      tip.textContent = [
        bar.id, bar.status === 'waiting' ? `waited ${took}: ${bar.reason || ''}` : bar.status === 'running' ? `running for ${took}` : `${bar.status} after ${took}`,
        bar.attempts > 1 ? `${bar.attempts} attempts` : '', bar.worker ? `on ${bar.worker}` : '', `from ${clock(bar.start)}`,
      ].filter(Boolean).join('\n');
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - 260)}px`;
      tip.style.top = `${Math.min(event.clientY + 14, innerHeight - 90)}px`;
    },
  };

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
      findBoxes();
      if (D && D.graph) redraw('graph');
    },
  };
  findBoxes();
  addEventListener('resize', () => D && redraw('timeline'));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => D && redraw('timeline'));
  const given = JSON.parse(byId('data').textContent);
  if (given) page.start(given);
})();
