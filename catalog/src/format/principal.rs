//! Namespaces and roles.

use serde::{Deserialize, Serialize};

use crate::format::Record;
use crate::ids::{NamespaceId, RoleId};
use crate::role::{Role, ScramVerifier};
use crate::view::Namespace;

#[derive(Serialize, Deserialize)]
pub(crate) struct NamespaceV1 {
    id: u32,
    name: String,
    owner: u32,
}

impl Record for Namespace {
    const KIND: u8 = 3;
    const VERSION: u8 = 1;
    const TABLE: &'static str = "namespaces";
    type Layout = NamespaceV1;

    fn to_layout(&self) -> NamespaceV1 {
        NamespaceV1 { id: self.id.0, name: self.name.clone(), owner: self.owner.0 }
    }

    fn from_layout(layout: NamespaceV1) -> Option<Namespace> {
        let NamespaceV1 { id, name, owner } = layout;
        Some(Namespace { id: NamespaceId(id), name, owner: RoleId(owner) })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RoleV1 {
    id: u32,
    name: String,
    superuser: bool,
    login: bool,
    verifier: Option<ScramVerifierV1>,
}

#[derive(Serialize, Deserialize)]
struct ScramVerifierV1 {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

impl Record for Role {
    const KIND: u8 = 4;
    const VERSION: u8 = 1;
    const TABLE: &'static str = "roles";
    type Layout = RoleV1;

    fn to_layout(&self) -> RoleV1 {
        let verifier = self.verifier.as_ref().map(|verifier| ScramVerifierV1 {
            iterations: verifier.iterations,
            salt: verifier.salt.clone(),
            stored_key: verifier.stored_key.clone(),
            server_key: verifier.server_key.clone(),
        });
        RoleV1 {
            id: self.id.0,
            name: self.name.clone(),
            superuser: self.superuser,
            login: self.login,
            verifier,
        }
    }

    fn from_layout(layout: RoleV1) -> Option<Role> {
        let RoleV1 { id, name, superuser, login, verifier } = layout;
        let verifier = verifier.map(|verifier| {
            let ScramVerifierV1 { iterations, salt, stored_key, server_key } = verifier;
            ScramVerifier { iterations, salt, stored_key, server_key }
        });
        Some(Role { id: RoleId(id), name, superuser, login, verifier })
    }
}
