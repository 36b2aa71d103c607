//! A value that sessions share and that is replaced as a whole while they run.
//!
//! A session that has read the value keeps the old one; its next read returns the new one. The lock
//! is held only to copy a handle (NET-7).

use std::sync::Arc;

use parking_lot::RwLock;

/// The current value of type `T`.
#[derive(Debug)]
pub struct Current<T>(RwLock<Arc<T>>);

impl<T> Current<T> {
    /// Starts with `value`.
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The value that is current now.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read())
    }

    /// Replaces the current value by `value`.
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
    fn a_reader_of_the_old_value_keeps_it() {
        let current = Current::new(1);
        let old = current.get();
        current.set(2);
        assert_eq!((*old, *current.get()), (1, 2));
    }
}
