//! A thread that does nothing but wait for its waker.

use std::sync::Arc;
use std::task::Wake;

use shuttle::sync::{Condvar, Mutex};

/// The waker. One whose wake-up is lost waits for ever, which is a deadlock.
#[derive(Default)]
pub struct Parked {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        *self.is_woken.lock().unwrap() = true;
        self.woken.notify_all();
    }
}

impl Parked {
    pub fn park(&self) {
        let is_woken = self.is_woken.lock().unwrap();
        *self.woken.wait_while(is_woken, |is_woken| !*is_woken).unwrap() = false;
    }
}
