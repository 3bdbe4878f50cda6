//! The atomics of the model checker's build: real ones, before which, in an execution, a scheduler decides who goes on.

use std::fmt;
use std::sync::atomic as real;

use shuttle::sync::atomic as shuttle_atomic;

use super::checked::is_checked;

pub use std::sync::atomic::Ordering;

/// What is looked at in the place of a value, so that the scheduler is asked.
#[derive(Default)]
struct Step(shuttle_atomic::AtomicBool);

impl Step {
    fn take(&self) {
        if is_checked() {
            self.0.load(Ordering::SeqCst);
        }
    }
}

macro_rules! atomic {
    ($name:ident of $of:ty: $($operation:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        #[derive(Default)]
        pub struct $name {
            step: Step,
            value: real::$name,
        }

        impl $name {
            pub const fn new(value: $of) -> Self {
                Self { step: Step(shuttle_atomic::AtomicBool::new(false)), value: real::$name::new(value) }
            }

            $(pub fn $operation(&self, $($argument: $kind),*) -> $result {
                self.step.take();
                self.value.$operation($($argument),*)
            })*
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.value.fmt(f)
            }
        }
    };
}

atomic! { AtomicBool of bool:
    load(order: Ordering) -> bool;
    store(value: bool, order: Ordering) -> ();
    swap(value: bool, order: Ordering) -> bool;
}

atomic! { AtomicU64 of u64:
    load(order: Ordering) -> u64;
    store(value: u64, order: Ordering) -> ();
    swap(value: u64, order: Ordering) -> u64;
    compare_exchange(current: u64, new: u64, success: Ordering, failure: Ordering) -> Result<u64, u64>;
}

atomic! { AtomicUsize of usize:
    load(order: Ordering) -> usize;
    store(value: usize, order: Ordering) -> ();
    swap(value: usize, order: Ordering) -> usize;
    fetch_add(value: usize, order: Ordering) -> usize;
    fetch_sub(value: usize, order: Ordering) -> usize;
    fetch_max(value: usize, order: Ordering) -> usize;
}
