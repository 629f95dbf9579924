//! Deferral: a provider says that it cannot decide yet, and Terraform goes on with the rest (protocol 6.6).

use crate::proto::tfplugin6 as pb;
use pb::deferred::Reason;

/// Why something is put off to a later plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeferredReason {
    /// Values of the configuration are known only after an apply.
    ResourceConfigUnknown,
    /// Values of the provider block are known only after an apply.
    ProviderConfigUnknown,
    /// Something that must be there first is not there yet.
    AbsentPrerequisite,
}

impl DeferredReason {
    /// The reason in words, for an error to a Terraform that takes no deferral.
    pub fn describe(self) -> &'static str {
        match self {
            Self::ResourceConfigUnknown => "values of its configuration are known only after an apply",
            Self::ProviderConfigUnknown => "values of the provider block are known only after an apply",
            Self::AbsentPrerequisite => "something that it needs does not exist yet",
        }
    }

    pub(crate) fn wire(self) -> pb::Deferred {
        let reason = match self {
            Self::ResourceConfigUnknown => Reason::ResourceConfigUnknown,
            Self::ProviderConfigUnknown => Reason::ProviderConfigUnknown,
            Self::AbsentPrerequisite => Reason::AbsentPrereq,
        };
        pb::Deferred { reason: reason.into() }
    }

    /// The reason of a message; nothing for one that means nothing.
    #[cfg(feature = "testkit")]
    pub(crate) fn read(deferred: &pb::Deferred) -> Option<Self> {
        match deferred.reason() {
            Reason::Unknown => None,
            Reason::ResourceConfigUnknown => Some(Self::ResourceConfigUnknown),
            Reason::ProviderConfigUnknown => Some(Self::ProviderConfigUnknown),
            Reason::AbsentPrereq => Some(Self::AbsentPrerequisite),
        }
    }
}
