// Boards by keyboard, and what a button is about lit up on the board.
const ringrift = {
  held: null, // cell that had the focus when its board was drawn anew
  cells: () => [...document.querySelectorAll('.board [data-cell]')],
  find: (cell) => document.querySelector(`.board [data-cell="${cell}"]`),

  clicked(event) {
    return event.target.closest('[data-cell]')?.dataset.cell;
  },

  focus(cell) {
    ringrift.cells().forEach((other) => other.setAttribute('tabindex', other === cell ? 0 : -1));
    cell.focus();
  },

  // The cell that a key chooses; arrows move the focus to the nearest cell on that side.
  pressed(event) {
    const cell = event.target.closest('[data-cell]');
    if (!cell) return undefined;
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      return cell.dataset.cell;
    }
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way) return undefined;
    event.preventDefault();
    event.stopPropagation();
    const middle = (one) => {
      const box = one.querySelector('.ground').getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2];
    };
    const [x, y] = middle(cell);
    let nearest = null, least = Infinity;
    for (const other of ringrift.cells()) {
      const [u, v] = middle(other);
      const along = (u - x) * way[0] + (v - y) * way[1];
      const aside = Math.abs((u - x) * way[1]) + Math.abs((v - y) * way[0]);
      if (along > 1 && along + 2 * aside < least) [nearest, least] = [other, along + 2 * aside];
    }
    if (nearest) ringrift.focus(nearest);
    return undefined;
  },

  light(cells) {
    ringrift.cells().forEach((cell) => cell.classList.toggle('lit', cells.includes(cell.dataset.cell)));
  },
};

document.addEventListener('focusin', (event) => {
  ringrift.held = event.target.closest?.('[data-cell]')?.dataset.cell ?? null;
});
document.addEventListener('pointerdown', (event) => {
  if (!event.target.closest('[data-cell]')) ringrift.held = null;
});
new MutationObserver(() => {
  if (ringrift.held !== null && document.activeElement === document.body) {
    const cell = ringrift.find(ringrift.held);
    if (cell) ringrift.focus(cell);
  }
}).observe(document.documentElement, { childList: true, subtree: true });
