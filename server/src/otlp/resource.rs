//! Who sends: what all that a resource or a scope sends has in common.

use crate::otlp::value::{attributes_json, key_values, value_text};
use crate::protobuf::{last, malformed};
use crate::{ingest::Refused, otlp::value::text};

const ATTRIBUTES: u32 = 1;
const SCOPE_NAME: u32 = 1;

/// The attributes that together name a sender, and the tags that they become.
const IDENTITY: [(&str, &str); 3] = [
    ("service.name", "service_name"),
    ("service.namespace", "service_namespace"),
    ("service.instance.id", "service_instance_id"),
];

/// A resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resource {
    /// What names it: tags and their values.
    pub(super) identity: Vec<(&'static str, String)>,
    /// All of its attributes, as `jsonb`.
    pub(super) attributes: String,
}

impl Resource {
    /// Reads a resource; one that is missing has no attributes.
    ///
    /// # Errors
    /// It cannot be read. What it sends cannot be told from what others send then.
    pub(super) fn read(message: &[u8]) -> Result<Resource, String> {
        let mut identity = Vec::new();
        for pair in key_values(message, ATTRIBUTES) {
            let (key, value) = pair?;
            let tag = IDENTITY.iter().find(|(attribute, _)| *attribute == key);
            if let Some((_, tag)) = tag
                && let Some(value) = value_text(value)?
                && identity.iter().all(|(other, _)| other != tag)
            {
                identity.push((*tag, value));
            }
        }
        Ok(Resource { identity, attributes: attributes_json(message, ATTRIBUTES)? })
    }

    /// The service's name.
    pub(super) fn service_name(&self) -> Option<&str> {
        let found = self.identity.iter().find(|(tag, _)| *tag == IDENTITY[0].1);
        found.map(|(_, name)| name.as_str())
    }
}

/// The name of a scope; empty where it has none.
///
/// # Errors
/// It cannot be read.
pub(super) fn scope_name(scope: &[u8]) -> Result<&str, Refused> {
    let name = last(scope, SCOPE_NAME).map_err(|error| malformed(&error))?;
    text(name.unwrap_or_default()).map_err(Refused::Malformed)
}
