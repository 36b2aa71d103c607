//! Interrupts what a thread does, after a number of steps, as if the process had ended there.

use std::cell::Cell;

thread_local! {
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Interrupts this thread after `n_steps` steps, or not at all.
pub(crate) fn plan(n_steps: Option<usize>) {
    LEFT.set(n_steps);
}

/// Whether it is to be interrupted here.
pub(crate) fn is_here() -> bool {
    let left = LEFT.get();
    LEFT.set(left.map(|left| left.saturating_sub(1)));
    left == Some(0)
}
