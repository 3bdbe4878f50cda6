//! The lives of a service, as the crash suites run them: again and again, each time ended elsewhere.

use ottla::internals::{CrashProfile, MemoryVfs};

use crate::adopting::Kafkas;
use crate::service::Service;
use crate::step::Step;
use crate::told::Told;

/// What a service does on a disk that it finds.
pub struct Workload {
    pub name: &'static str,
    /// What was done before the first call that is counted.
    before: Vec<Step>,
    /// How that ended.
    left: Left,
    steps: Vec<Step>,
    is_ticked: bool,
    /// Each so many'th of its calls fails.
    pub fails_each: usize,
}

/// How the disk was left on which the counted part begins.
#[derive(Clone, Copy)]
pub enum Left {
    Closed,
    Killed,
    /// The image of this profile and number.
    PowerCut(CrashProfile, u64),
    /// By a Kafka broker, which stopped in order or was killed.
    Kafkas {
        stopped: bool,
    },
}

/// The disk, and what was told of it.
pub struct Beginning {
    pub vfs: MemoryVfs,
    told: Told,
}

impl Workload {
    pub fn new(name: &'static str, steps: impl Into<Vec<Step>>) -> Self {
        let (before, left, steps) = (Vec::new(), Left::Closed, steps.into());
        Self { name, before, left, steps, is_ticked: false, fails_each: 1 }
    }

    /// On a disk on which something was done before.
    pub fn after(self, before: impl Into<Vec<Step>>, left: Left) -> Self {
        Self { before: before.into(), left, ..self }
    }

    /// As with threads that do what is due, in the ticks of the steps.
    pub fn ticked(self) -> Self {
        Self { is_ticked: true, ..self }
    }

    /// One that takes so long that not each of its calls fails in CI.
    pub fn failing_each(self, fails_each: usize) -> Self {
        Self { fails_each, ..self }
    }

    pub fn beginning(&self) -> Beginning {
        let (vfs, told) = match self.left {
            Left::Kafkas { stopped } => kafkas(stopped),
            Left::Closed | Left::Killed | Left::PowerCut(..) => (MemoryVfs::new(), Told::default()),
        };
        if self.before.is_empty() {
            return Beginning { vfs, told };
        }
        let mut service = Service::begin(&vfs, told, self.is_ticked, format!("{}, before", self.name));
        service.take_all(&self.before);
        match self.left {
            Left::Closed => service.take(&Step::Close),
            Left::Killed | Left::Kafkas { .. } => {}
            Left::PowerCut(profile, number) => service.lose_power(profile, number),
        }
        let (vfs, told) = service.end();
        Beginning { vfs, told }
    }

    /// Takes the steps on `vfs`, a fork of the beginning's, until the file system stops them, and shows the service as it
    /// is then.
    pub fn run<T>(
        &self,
        vfs: &MemoryVfs,
        beginning: &Beginning,
        what: &str,
        then: impl FnOnce(&mut Service) -> T,
    ) -> T {
        let told = beginning.told.clone();
        let mut service = Service::begin(vfs, told, self.is_ticked, format!("{} {what}", self.name));
        service.take_all(&self.steps);
        then(&mut service)
    }

    /// Whether a sync fails in it.
    pub fn fails_a_sync(&self) -> bool {
        let steps = self.before.iter().chain(&self.steps);
        steps.into_iter().any(|step| matches!(step, Step::FailSync))
    }
}

/// A Kafka broker's directory with its records, all of which it has synced.
fn kafkas(stopped: bool) -> (MemoryVfs, Told) {
    let kafkas = if stopped { Kafkas::stopped_in_order() } else { Kafkas::killed() };
    let mut told = Told::default();
    told.was_kafkas = true;
    told.sent("orders").values = (0..15).map(|number| vec![number; 200]).collect();
    for (place, count) in [("orders", 15), ("orders/1", 0), ("empty", 0)] {
        told.settle(place, count);
        told.sent(place).created = true;
    }
    (kafkas.vfs.restart(), told)
}
