//! What containers ask for and may use.

use alloc::format;

use firmware_compat::v1::owned::Resources;

use super::{Check, Container};
use crate::api::{core::pod, quantity::Amounts};

/// CPU and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// Bytes.
    pub memory_bytes: u64,
}

pub(super) fn requests(init: &[Container], main: &[Container]) -> Amount {
    let of = |c: &Container| Amount {
        cpu_milli: c.resources.cpu_request_milli.into(),
        memory_bytes: c.resources.memory_request_bytes,
    };
    let (mut sidecars, mut most) = (Amount::default(), Amount::default());
    for container in init {
        let mut at_once = sidecars;
        at_once.add(of(container));
        most.cpu_milli = most.cpu_milli.max(at_once.cpu_milli);
        most.memory_bytes = most.memory_bytes.max(at_once.memory_bytes);
        if container.supervision.sidecar {
            sidecars = at_once;
        }
    }
    let mut together = sidecars;
    main.iter().for_each(|container| together.add(of(container)));
    Amount {
        cpu_milli: most.cpu_milli.max(together.cpu_milli),
        memory_bytes: most.memory_bytes.max(together.memory_bytes),
    }
}

impl Amount {
    /// Adds an amount.
    pub fn add(&mut self, other: Self) {
        self.cpu_milli = self.cpu_milli.saturating_add(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
    }

    /// Takes an amount away.
    pub fn subtract(&mut self, other: Self) {
        self.cpu_milli = self.cpu_milli.saturating_sub(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_sub(other.memory_bytes);
    }
}

impl Check {
    pub(super) fn resources(&mut self, at: &str, resources: &pod::Resources) -> Resources {
        let limits = self.amounts(&format!("{at}.resources.limits"), &resources.limits);
        let mut requests = self.amounts(&format!("{at}.resources.requests"), &resources.requests);
        // Kubernetes: what has a limit and no request asks for its limit.
        if !resources.requests.contains_key("cpu") {
            requests.cpu_milli = limits.cpu_milli;
        }
        if !resources.requests.contains_key("memory") {
            requests.memory_bytes = limits.memory_bytes;
        }
        for (name, request, limit) in [
            ("cpu", requests.cpu_milli, limits.cpu_milli),
            ("memory", requests.memory_bytes, limits.memory_bytes),
        ] {
            if limit > 0 && request > limit {
                self.error(
                    format!("{at}.resources.requests.{name}"),
                    "must not be more than the limit",
                );
            }
        }
        Resources {
            cpu_request_milli: u32::try_from(requests.cpu_milli).unwrap_or(u32::MAX),
            cpu_limit_milli: u32::try_from(limits.cpu_milli).unwrap_or(u32::MAX),
            memory_request_bytes: requests.memory_bytes,
            memory_limit_bytes: limits.memory_bytes,
        }
    }

    pub(super) fn amounts(&mut self, at: &str, amounts: &Amounts) -> Amount {
        let mut result = Amount::default();
        for (name, quantity) in amounts {
            let field = format!("{at}.{name}");
            let (value, slot) = match name.as_str() {
                "cpu" => (quantity.in_milli(), &mut result.cpu_milli),
                "memory" => (quantity.in_units(), &mut result.memory_bytes),
                _ => {
                    self.error(field, "this resource is not supported; \"cpu\" and \"memory\" are");
                    continue;
                }
            };
            match value {
                Some(value) => *slot = value,
                None => self.error(
                    field,
                    format!("\"{quantity}\" is not a quantity, such as \"500m\" or \"64Mi\""),
                ),
            }
        }
        result
    }
}
