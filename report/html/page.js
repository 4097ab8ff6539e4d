// What a page can do beyond being read: tables that sort and filter, plots, and a choice of light or dark. Without it all is there.
'use strict';
(() => {
  const root = document.documentElement;
  root.classList.add('js');
  const all = (selector, from = document) => Array.from(from.querySelectorAll(selector));
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const digits = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
  const printing = matchMedia('print');

  // ---- tables

  const chunk = 500; // rows that are in the page at once: a browser lays out as many in no time
  const filterFrom = 12;
  const collator = new Intl.Collator('en', { numeric: true });

  // keyOf is what a cell is sorted by: its number, or its text; null, which is last, for what is not known.
  const keyOf = (cell) => {
    const text = cell.textContent.trim();
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    if (text === '' || text === '-') return null;
    return /^[+-]?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
  };
  const compare = (a, b) => {
    if (typeof a === 'number' && typeof b === 'number') return a - b;
    if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1;
    return collator.compare(a, b);
  };

  const setUpTable = (table, number) => {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    if (rows.length < 2) return;
    let order = rows, words = '', limit = chunk, texts = null;
    const status = make('output', { 'aria-live': 'polite', id: 'rows-' + number });
    const more = make('button', { type: 'button', class: 'button' });
    const show = () => {
      let list = order;
      if (words !== '') {
        texts ??= new Map(rows.map((row) => [row, Array.from(row.cells, (cell) => cell.textContent).join('\n').toLowerCase()]));
        list = order.filter((row) => words.split(/\s+/).every((word) => texts.get(row).includes(word)));
      }
      body.replaceChildren(...list.slice(0, limit));
      const parts = [];
      if (words !== '') parts.push(digits.format(list.length) + ' of ' + digits.format(rows.length) + ' rows match');
      else parts.push(digits.format(rows.length) + ' rows');
      if (list.length > limit) parts.push('the first ' + digits.format(limit) + ' are shown');
      status.textContent = parts.join(', ');
      more.hidden = list.length <= limit;
      more.textContent = 'Show ' + digits.format(Math.min(chunk, list.length - limit)) + ' more';
    };
    more.addEventListener('click', () => { limit += chunk; show(); });

    const heads = table.tHead ? Array.from(table.tHead.rows[0].cells) : [];
    heads.forEach((head, column) => {
      if (head.textContent.trim() === '') return;
      const button = make('button', { type: 'button' }, ...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => {
        const before = head.getAttribute('aria-sort');
        const first = head.classList.contains('n') ? 'descending' : 'ascending';
        const way = before === null ? first : before === 'ascending' ? 'descending' : 'ascending';
        for (const other of heads) other.removeAttribute('aria-sort');
        head.setAttribute('aria-sort', way);
        const keys = new Map(rows.map((row) => [row, keyOf(row.cells[column])]));
        const sign = way === 'ascending' ? 1 : -1;
        order = rows.slice().sort((a, b) => {
          const x = keys.get(a), y = keys.get(b);
          if (x === null || y === null) return (x === null) - (y === null);
          return sign * compare(x, y);
        });
        show();
      });
    });

    if (rows.length <= filterFrom) return;
    const input = make('input', { type: 'search', autocomplete: 'off', spellcheck: 'false', 'aria-controls': 'rows-' + number });
    let wait = 0;
    input.addEventListener('input', () => {
      clearTimeout(wait);
      wait = setTimeout(() => { words = input.value.trim().toLowerCase(); limit = chunk; show(); }, rows.length > 2000 ? 250 : 80);
    });
    const box = table.closest('.scroll');
    box.before(make('div', { class: 'tools' }, make('label', {}, 'Filter rows', input), status));
    box.after(more);
    show();
    box.classList.add('ready');
  };

  // ---- plots

  const probe = make('span', { hidden: '' });
  const color = (name) => {
    probe.style.color = 'var(--' + name + ')';
    return getComputedStyle(probe).color;
  };
  const colors = 8;
  const lineColor = (i) => 'c' + (i % colors + 1);
  const dashes = [[], [], [], [], [8, 4], [2, 3], [10, 3, 2, 3], [5, 5]];
  const font = (u) => Math.round(12 * (u ? devicePixelRatio : 1)) + 'px system-ui, sans-serif';
  const clock = new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', dateStyle: 'medium', timeStyle: 'medium' });
  // moments writes the ticks of a time axis in UTC: as fine as their distance, and the day where it is another one than before.
  const moments = (_, list, _axis, _space, step) => {
    let day = '';
    return list.map((t) => {
      const iso = new Date(t * 1000).toISOString(), before = day;
      day = iso.slice(0, 10);
      if (step >= 86400) return day;
      return iso.slice(11, step < 60 ? 19 : 16) + (before !== '' && before !== day ? '\n' + day : '');
    });
  };
  const scaleOf = (plot) => { // of bytes: the unit in which the largest is one or more
    let most = 0;
    for (const line of plot.lines) for (const v of line.values) most = Math.max(most, v ?? 0);
    if (plot.unit === 'share') return [1 / 100, '%'];
    if (plot.unit !== 'bytes') return [1, ''];
    const power = most < 1 ? 0 : Math.min(6, Math.floor(Math.log2(most) / 10));
    return [1024 ** power, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'][power]];
  };
  const steps = [1, 2, 5, 10, 15, 30].concat([1, 2, 5, 10, 15, 30].map((n) => n * 60), [1, 2, 3, 6, 12, 24, 48, 168, 720].map((n) => n * 3600)); // seconds
  const whole = [1, 2, 5].flatMap((n) => [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8].map((p) => n * p)).sort((a, b) => a - b);

  const measure = document.createElement('canvas').getContext('2d');
  const width = (text) => { measure.font = font(); return measure.measureText(text).width; };
  const shortened = (text, room) => { // the middle goes: addresses differ at their ends
    if (width(text) <= room) return text;
    let keep = text.length - 1;
    const cut = () => text.slice(0, Math.ceil(keep / 2)) + '…' + text.slice(text.length - Math.floor(keep / 2));
    while (keep > 2 && width(cut()) > room) keep--;
    return cut();
  };
  const axis = (more) => ({
    stroke: color('soft'), font: font(), labelFont: font(), labelSize: 18, labelGap: 0,
    grid: { stroke: color('line'), width: 1 }, ticks: { stroke: color('line'), width: 1, size: 4 }, ...more,
  });
  const valueAxis = (label, more) => axis({
    label, values: (_, list) => list.map((v) => digits.format(v)),
    size: (_, list) => 14 + Math.max(0, ...(list ?? []).map(width)), ...more,
  });

  const swatch = (i, dashed) => {
    const ns = 'http://www.w3.org/2000/svg';
    const svg = document.createElementNS(ns, 'svg');
    const mark = document.createElementNS(ns, dashed ? 'line' : 'rect');
    for (const [key, value] of Object.entries({ width: dashed ? 22 : 12, height: 12, 'aria-hidden': 'true' })) svg.setAttribute(key, value);
    const shape = dashed ? { x1: 0, x2: 22, y1: 6, y2: 6, 'stroke-width': 3, 'stroke-dasharray': dashes[i % dashes.length].join(' ') } : { width: 12, height: 12, rx: 2 };
    for (const [key, value] of Object.entries(shape)) mark.setAttribute(key, value);
    mark.style[dashed ? 'stroke' : 'fill'] = 'var(--' + lineColor(i) + ')';
    svg.append(mark);
    return svg;
  };

  const name = (line) => make('span', { class: 'name', title: line.name }, line.name);

  const drawLines = (box, plot, legend, size) => {
    const [unit, unitName] = scaleOf(plot);
    const data = [plot.times, ...plot.lines.map((line) => line.values.map((v) => v === null ? null : v / unit))];
    const values = [], at = make('li', { class: 'at' });
    const tell = (u) => {
      const i = u.cursor.idx;
      plot.lines.forEach((_, k) => {
        const v = data[k + 1][i ?? plot.times.length - 1];
        values[k].textContent = v == null ? '–' : digits.format(v) + (unitName && ' ' + unitName);
      });
      at.textContent = i == null ? '' : clock.format(plot.times[i] * 1000);
    };
    let cut = false; // what would be a flat line far above 0 is shown from nearer by, and that is said
    const range = (_, least, most) => {
      if (least === null) return [0, 1];
      most = Math.max(most, unit === 1 ? 1 : 1e-9);
      const low = least > most * 0.8 && most > 10 ? Math.min(least, most * 0.9) - most * 0.02 : 0;
      cut = low > 0;
      return [low, most + (most - low) * 0.08];
    };
    const label = unitName && plot.unit === 'bytes' ? unitName : plot.of;
    const days = [plot.times[0], plot.times.at(-1)].map((t) => new Date(t * 1000).toISOString().slice(0, 10));
    const u = new uPlot({
      ...size, height: 240, legend: { show: false }, padding: [10, 30, 0, 4],
      tzDate: (t) => uPlot.tzDate(new Date(t * 1000), 'Etc/UTC'),
      cursor: { sync: { key: 'time' }, y: false, points: { size: 7 } },
      scales: { y: { range } },
      axes: [axis({ label: 'UTC, ' + (days[0] === days[1] ? days[0] : days.join(' to ')), space: 76, incrs: steps, size: days[0] === days[1] ? 26 : 42, values: moments }),
        valueAxis(() => label + (cut ? ', not from 0' : ''), plot.unit === 'count' ? { incrs: whole } : {})],
      series: [{}, ...plot.lines.map((line, i) => ({
        label: line.name, stroke: color(lineColor(i)), width: 2, dash: dashes[i % dashes.length], points: { show: plot.times.length < 25, size: 5 },
      }))],
      hooks: { setCursor: [tell] },
    }, data, box);
    legend.replaceChildren(...plot.lines.map((line, i) => {
      values[i] = make('b');
      const button = make('button', { type: 'button', 'aria-pressed': 'true' }, swatch(i, true), name(line), values[i]);
      button.addEventListener('click', () => {
        const on = button.getAttribute('aria-pressed') !== 'true';
        button.setAttribute('aria-pressed', on);
        u.setSeries(i + 1, { show: on });
      });
      return make('li', {}, button);
    }), at);
    tell(u);
    return u;
  };

  const drawBars = (box, plot, legend, size) => {
    const pairs = plot.kind === 'pairs', lying = pairs || plot.kind === 'bars', n = plot.labels.length, layers = plot.lines;
    const sums = pairs ? layers.map((line) => line.values)
      : layers.reduce((list, line) => [...list, line.values.map((v, i) => (v ?? 0) + (list.at(-1)?.[i] ?? 0))], []);
    const most = Math.max(1, ...(pairs ? sums.flat() : sums.at(-1)));
    const room = lying ? Math.min(size.width * 0.42, 4 + Math.max(...plot.labels.map(width))) : 0;
    const total = (u) => {
      const ctx = u.ctx, ratio = devicePixelRatio;
      ctx.save();
      ctx.font = font(u);
      ctx.fillStyle = color('ink');
      ctx.textAlign = lying ? 'left' : 'center';
      ctx.textBaseline = lying ? 'middle' : 'bottom';
      const step = Math.abs(u.valToPos(1, 'x', true) - u.valToPos(0, 'x', true));
      (pairs ? sums : sums.slice(-1)).forEach((list, k) => list.forEach((v, i) => {
        const text = v === null ? 'not known' : digits.format(v);
        const along = u.valToPos(pairs ? i + (k - 0.5) * 0.4 : i, 'x', true), up = u.valToPos(v ?? 0, 'y', true);
        if (v === 0 && !pairs || !lying && ctx.measureText(text).width > step) return;
        if (lying) ctx.fillText(text, up + 5 * ratio, along); else ctx.fillText(text, along, up - 2 * ratio);
      }));
      ctx.restore();
    };
    const labels = (_, list) => list.map((i) => Number.isInteger(i) && plot.labels[i] !== undefined ? shortened(plot.labels[i], lying ? room : 90) : '');
    const index = lying
      ? axis({ side: 3, size: room + 10, values: labels, splits: () => plot.labels.map((_, i) => i), space: 0, grid: { show: false }, ticks: { show: false } })
      : axis({ label: plot.axis, size: 26, values: labels, incrs: [1, 2, 3, 4, 6, 8, 12], space: 8 + Math.max(...plot.labels.map(width)), grid: { show: false } });
    if (layers.length > 1 || layers[0].name !== plot.of) legend.replaceChildren(...layers.map((line, i) => make('li', {}, make('span', { class: 'key' }, swatch(i, false), name(line)))));
    return new uPlot({
      ...size, height: lying ? n * (pairs ? 40 : 27) + 52 : 220, legend: { show: false }, cursor: { show: false }, padding: [lying ? 2 : 18, lying ? 46 : 12, 0, lying ? 0 : 4],
      scales: {
        x: { time: false, range: [-0.5, n - 0.5], ori: lying ? 1 : 0, dir: lying ? -1 : 1 },
        y: { range: [0, most * 1.03], ori: lying ? 0 : 1 },
      },
      axes: [index, valueAxis(plot.of, { incrs: whole, side: lying ? 2 : 3, ...(lying ? { size: 32, space: 60 } : {}) })],
      series: [{}, ...(pairs ? [0, 1] : layers.map((_, i) => layers.length - 1 - i)).map((i) => ({ // the tallest sum first, the others before it
        label: layers[i].name, stroke: color(lineColor(i)), fill: color(lineColor(i)), width: 0, points: { show: false },
        paths: uPlot.paths.bars(pairs ? { size: [0.4, 64], align: 2 * i - 1 } : { size: [lying ? 0.72 : 0.88, 64] }),
      }))],
      hooks: { draw: [total] },
    }, [plot.labels.map((_, i) => i), ...(pairs ? sums : sums.slice().reverse())], box);
  };

  const setUpPlots = () => {
    const source = document.getElementById('plots');
    if (!source || typeof uPlot === 'undefined') return () => {};
    const data = JSON.parse(source.textContent);
    document.body.append(probe);
    const plots = all('.canvas').map((box) => ({ box, plot: data[box.dataset.plot], u: null }));
    for (const p of plots) {
      p.legend = make('ul', { class: 'legend', 'aria-label': 'Lines, with their last values' });
      p.box.before(p.legend);
    }
    const draw = (p) => {
      p.u?.destroy();
      p.width = p.box.clientWidth;
      const size = { width: printing.matches || root.dataset.paper ? Math.min(p.width, 640) : p.width };
      p.u = (p.plot.kind === 'lines' ? drawLines : drawBars)(p.box, p.plot, p.legend, size);
    };
    const redraw = () => plots.forEach(draw);
    redraw();
    new ResizeObserver(() => {
      for (const p of plots) if (p.box.clientWidth !== p.width) draw(p);
    }).observe(document.querySelector('main'));
    return redraw;
  };

  // ---- the page

  const setUpTheme = (redraw) => {
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const isDark = () => (root.dataset.theme ?? (dark.matches ? 'dark' : 'light')) === 'dark';
    const button = make('button', { type: 'button', class: 'button' });
    const tell = () => { button.textContent = isDark() ? 'Light' : 'Dark'; button.setAttribute('aria-label', 'Show the page ' + (isDark() ? 'light' : 'dark')); };
    button.addEventListener('click', () => { root.dataset.theme = isDark() ? 'light' : 'dark'; tell(); redraw(); });
    dark.addEventListener('change', () => { tell(); redraw(); });
    tell();
    document.querySelector('.top').append(button);
  };

  const setUpPaper = (redraw) => {
    let closed = [], theme;
    const paper = (on) => {
      if (on === (root.dataset.paper === 'on')) return;
      if (on) {
        root.dataset.paper = 'on';
        theme = root.dataset.theme;
        root.dataset.theme = 'light';
        closed = all('details:not([open])');
        for (const d of closed) d.open = true;
      } else {
        delete root.dataset.paper;
        if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
        for (const d of closed) d.open = false;
      }
      redraw();
    };
    addEventListener('beforeprint', () => paper(true));
    addEventListener('afterprint', () => paper(false));
    printing.addEventListener('change', () => paper(printing.matches));
  };

  document.addEventListener('DOMContentLoaded', () => {
    for (const d of all('details')) d.open = false;
    all('table').forEach(setUpTable);
    const redraw = setUpPlots();
    setUpTheme(redraw);
    setUpPaper(redraw);
  });
})();
