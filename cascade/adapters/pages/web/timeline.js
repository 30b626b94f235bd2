'use strict';
// Draws who was at work when, on canvases: how many nodes of each task, and a bar for each node.
window.cascadeTimeline = page => {
  const { byId, css, el, duration, clock, count, counted, where } = page;
  const PALETTE = ['#4c8dff', '#e0823d', '#3fa66b', '#b46be0', '#d9a521', '#2fb3b8', '#e0609a', '#8a8f3a', '#7a86e8', '#a86f4f', '#5aa9d6', '#8b949e'];
  const MOST_ROWS = 300, FONT = '11px system-ui, sans-serif';
  const timeline = {
    hits: [], hovered: null,
    colours() {
      const names = page.document.timeline.activity ? page.document.timeline.activity.names : [];
      return name => name === 'others' || !names.includes(name) ? PALETTE[11] : PALETTE[names.indexOf(name) % 11];
    },
    // Bars of one worker that do not overlap share a row; where the worker is not known, so do any.
    packed() {
      const t = page.document.timeline, end = page.now();
      const bars = page.document.bars.map(b => ({ start: b[0], end: b[1], status: b[2], id: b[3], task: t.task_names[b[4]], worker: b[5] < 0 ? '' : t.workers[b[5]], attempts: b[6], reason: b[7] }));
      for (const a of page.document.active) bars.push({ start: a.since, end: Math.max(end, a.since), status: a.waits ? 'waiting' : 'running', id: a.id, task: a.task, worker: '', attempts: 1, reason: a.waits });
      bars.sort((a, b) => a.start - b.start || a.end - b.end);
      const groups = new Map();
      for (const bar of bars) {
        const name = bar.status === 'waiting' ? 'waiting' : where(bar.worker) || (bar.status === 'running' ? 'running' : 'elsewhere');
        if (!groups.has(name)) groups.set(name, []);
        const rows = groups.get(name);
        let row = rows.find(r => r.end <= bar.start + 1e-9);
        if (!row) { row = { end: 0, bars: [], name }; rows.push(row); }
        row.end = bar.end; row.bars.push(bar);
      }
      // What waits comes last: it may be very much, and who is at work is to be seen first.
      const place = name => `${name === 'waiting' ? 1 : 0}${name}`;
      return [...groups.keys()].sort((a, b) => place(a) < place(b) ? -1 : 1).flatMap(name => groups.get(name));
    },
    span() {
      const starts = page.document.bars.map(b => b[0]), begin = Math.min(page.document.run.started ?? Infinity, ...starts);
      const end = Math.max(page.now(), page.document.run.finished ?? 0, ...page.document.bars.map(b => b[1]));
      return [begin, Math.max(end - begin, 1e-3)];
    },
    draw() {
      const place = byId('timeline'), rows = this.packed();
      place.closest('section').hidden = !rows.length;
      if (!rows.length) return;
      if (!place.childElementCount) this.build(place);
      const [begin, span] = this.span();
      this.legend(place.querySelector('.legend'));
      const gutter = this.gutter(place, rows);
      this.activity(place.querySelector('.activity'), begin, span, gutter);
      this.lanes(place.querySelector('.lanes canvas'), rows, begin, span, gutter);
      const shown = page.document.bars.length, all = shown + page.document.left_out.bars;
      place.querySelector('.note').textContent = [
        page.document.left_out.bars ? `Of ${count(all)} bars ${count(shown)} are shown: the failed, the longest, and a sample of the others. The curve above counts them all.` : '',
        rows.length > MOST_ROWS ? `${count(rows.length - MOST_ROWS)} more rows are not drawn.` : '',
        page.document.run.is_estimated ? 'Beginnings are taken from when the store was told of the ends, and from how long nodes took.' : '',
      ].filter(Boolean).join(' ');
    },
    // Room for the names of rows: as much as they need, and no more than a quarter.
    gutter(place, rows) {
      const g = place.querySelector('.lanes canvas').getContext('2d');
      g.font = FONT;
      const widest = Math.max(...[...new Set(rows.map(row => row.name))].map(name => g.measureText(name).width));
      return Math.min(Math.ceil(widest) + 12, Math.round(place.clientWidth / 4));
    },
    build(place) {
      const canvas = el('canvas', { role: 'img' });
      place.append(
        el('div', { class: 'chart' }, el('canvas', { class: 'activity', role: 'img' })), el('ul', { class: 'legend' }),
        el('div', { class: 'chart lanes', tabindex: '0', role: 'group', 'aria-label': 'Bars of nodes' }, canvas), el('p', { class: 'note' }));
      canvas.addEventListener('mousemove', event => this.hover(event));
      canvas.addEventListener('mouseleave', () => { byId('tip').hidden = true; });
      canvas.addEventListener('click', event => { const bar = this.at(event); if (bar) page.choose(bar.id); });
    },
    legend(place) {
      const colour = this.colours(), names = page.document.timeline.activity ? page.document.timeline.activity.names : [];
      const entries = [...names.map(name => [name, colour(name)])];
      if (page.document.bars.some(b => b[2] === 'failed')) entries.push(['failed', css('--bad')]);
      if (page.document.bars.some(b => b[2] === 'handled')) entries.push(['failed, handled', css('--orange-soft')]);
      if (page.document.bars.some(b => b[2] === 'waiting') || page.document.active.some(a => a.waits)) entries.push(['waits', css('--warn-soft')]);
      if (page.document.bars.some(b => b[2] === 'cancelled')) entries.push(['cancelled', css('--card')]);
      place.replaceChildren(...entries.map(([name, paint]) => {
        const patch = el('i'); patch.style.background = paint;
        const edges = { waits: '--warn', cancelled: '--fg', 'failed, handled': '--orange' };
        patch.style.outline = `1px ${name === 'waits' ? 'dashed' : 'solid'} ${css(edges[name] || '--line')}`;
        return el('li', {}, patch, name);
      }));
    },
    context(canvas, height) {
      const width = canvas.parentElement.clientWidth, scale = Math.min(devicePixelRatio || 1, 2);
      canvas.style.height = `${height}px`;
      canvas.width = Math.round(width * scale); canvas.height = Math.round(height * scale);
      const g = canvas.getContext('2d');
      g.scale(scale, scale); g.font = FONT; g.textBaseline = 'middle';
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
    activity(canvas, begin, span, gutter) {
      const a = page.document.timeline.activity, height = 110, foot = 18;
      const [g, whole] = this.context(canvas, height), width = whole - gutter;
      g.translate(gutter, 0);
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
          const h = n / most * (height - foot - 18), y = height - foot - h - below[i];
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
    lanes(canvas, all, begin, span, gutter) {
      const rows = all.slice(0, MOST_ROWS), foot = 18;
      const h = rows.length <= 24 ? 18 : rows.length <= 60 ? 10 : 5;
      const [g, width] = this.context(canvas, rows.length * h + foot), room = width - gutter;
      const colour = this.colours(), warn = css('--warn'), orange = css('--orange'), ink = css('--fg'), card = css('--card');
      const paints = { failed: css('--bad'), handled: css('--orange-soft'), waiting: css('--warn-soft'), cancelled: card };
      // On the colours of tasks dark letters are read on any paper.
      const letters = { failed: card, handled: ink, waiting: ink, cancelled: ink };
      g.save(); g.translate(gutter, 0); this.ticks(g, room, 0, rows.length * h, span); g.restore();
      this.hits = [];
      let free = 0;  // names of workers stand below each other, as far as there is room for them
      rows.forEach((row, i) => {
        const y = i * h;
        if (gutter && y >= free && (i === 0 || rows[i - 1].name !== row.name)) {
          free = y + 10;
          g.fillStyle = css('--muted');
          let text = row.name;
          while (text.length > 4 && g.measureText(text).width > gutter - 10) text = `${text.slice(0, -2)}…`;
          g.fillText(text, 0, y + Math.max(h / 2, 5));
        }
        for (const bar of row.bars) {
          const x = gutter + (bar.start - begin) / span * room, w = Math.max((bar.end - bar.start) / span * room, 1.5);
          g.fillStyle = paints[bar.status] || colour(bar.task);
          g.fillRect(x, y + (h > 6 ? 1 : 0), w, h - (h > 6 ? 2 : 1));
          if (bar.status === 'waiting' && h > 6 && w > 3) { g.strokeStyle = warn; g.setLineDash([3, 2]); g.strokeRect(x + 0.5, y + 1.5, w - 1, h - 3); g.setLineDash([]); }
          if (bar.status === 'cancelled' || bar.status === 'handled') { g.strokeStyle = bar.status === 'handled' ? orange : ink; g.strokeRect(x + 0.5, y + 1.5, Math.max(w - 1, 1), h - 3); }
          const mark = { failed: '✗ ', handled: '! ' }[bar.status] || '';
          if (h > 14 && w > 40) {
            g.fillStyle = letters[bar.status] || '#0d1117';
            let text = mark + (bar.status === 'waiting' ? bar.reason || bar.id : bar.id);
            while (text.length > 2 && g.measureText(text).width > w - 8) text = `${text.slice(0, -2)}…`;
            if (text.length > 2) g.fillText(text, x + 4, y + h / 2 + 0.5);
          } else if (mark && w > 8 && h > 8) { g.fillStyle = letters[bar.status]; g.fillText(mark.trim(), x + 1, y + h / 2 + 0.5); }
          this.hits.push([x, y, Math.max(w, 3), h, bar]);
        }
      });
      canvas.setAttribute('aria-label', `${counted(this.hits.length, 'bar')} in ${counted(rows.length, 'row')} (${[...new Set(rows.map(row => row.name))].join(', ')}), over ${duration(span)}. The tables below say the same of the slowest nodes, of failures and waits.`);
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
        bar.id, bar.status === 'waiting' ? `waited ${took}: ${bar.reason || ''}` : bar.status === 'running' ? `running for ${took}` : `${bar.status === 'handled' ? 'failed, handled' : bar.status} after ${took}`,
        bar.attempts > 1 ? `${bar.attempts} attempts` : '', bar.worker ? `on ${bar.worker}` : '', `from ${clock(bar.start)}`,
      ].filter(Boolean).join('\n');
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - 260)}px`;
      tip.style.top = `${Math.min(event.clientY + 14, innerHeight - 90)}px`;
    },
  };
  return timeline;
};
