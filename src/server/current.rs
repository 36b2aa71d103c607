//! A value that sessions share and that is replaced as a whole while they go on.
//!
//! A session that has taken the value keeps it as it was; the next look gives the new one. The
//! lock is held for the copy of a handle (NET-7).

use std::sync::Arc;

use parking_lot::RwLock;

/// What is current of a `T`.
#[derive(Debug)]
pub struct Current<T>(RwLock<Arc<T>>);

impl<T> Current<T> {
    /// Begins with `value`.
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The value that is current now.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read())
    }

    /// Puts `value` in the place of what was current.
    pub fn set(&self, value: T) {
        let mut value = Arc::new(value);
        std::mem::swap(&mut *self.0.write(), &mut value);
        // The old one is dropped here, after the lock.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_old_value_keeps_it() {
        let current = Current::new(1);
        let old = current.get();
        current.set(2);
        assert_eq!((*old, *current.get()), (1, 2));
    }
}
