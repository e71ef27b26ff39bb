//! Roles.

use sqlparser::ast::{
    AlterRoleOperation, AlterUser, AlterUserPassword, CreateRole, Expr, Password as SqlPassword, RoleOption,
    Value,
};
use tidemark_catalog::edit::{CatalogEdit, Change};
use tidemark_catalog::ids::RoleId;
use tidemark_catalog::role::Role;

use crate::error::{SqlError, SqlResult};
use crate::sql::ddl::{DdlContext, DdlDone, check_identifier, done, edit_error};
use crate::sql::names::{self, relation_name};
use crate::sqlstate;
use crate::wire::auth::{VERIFIER_PREFIX, verifier, verifier_from_text};

pub(super) fn create(create: &CreateRole, context: &DdlContext<'_>) -> SqlResult<DdlDone> {
    require_superuser(context, "create role")?;
    let mut edit = CatalogEdit::new();
    for name in &create.names {
        let (_, name) = relation_name(name)?;
        check_identifier(&name)?;
        let view = context.resolver.view();
        if view.role_by_name(&name).is_some() {
            let message = format!("role \"{name}\" already exists");
            return Err(SqlError::new(sqlstate::DUPLICATE_OBJECT, message));
        }
        let id = context.engine.allocate_object().map_err(edit_error)?;
        let mut role = Role { id: RoleId(id), name, superuser: false, login: false, verifier: None };
        role.superuser = create.superuser.unwrap_or(false);
        role.login = create.login.unwrap_or(false);
        if let Some(password) = &create.password {
            set_password(&mut role, password, context.salt)?;
        }
        edit.push(Change::PutRole(role));
    }
    context.engine.commit_edit(&edit).map_err(edit_error)?;
    Ok(done("CREATE ROLE"))
}

pub(super) fn alter(
    name: &str,
    operation: &AlterRoleOperation,
    context: &DdlContext<'_>,
) -> SqlResult<DdlDone> {
    let is_own = name == context.role.name;
    let AlterRoleOperation::WithOptions { options } = operation else {
        return Err(SqlError::unsupported(format!("ALTER ROLE … {operation}")));
    };
    let only_password = options.iter().all(|option| matches!(option, RoleOption::Password(_)));
    if !(is_own && only_password) {
        require_superuser(context, "alter role")?;
    }
    let view = context.resolver.view();
    let role = view.role_by_name(name).ok_or_else(|| {
        SqlError::new(sqlstate::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist"))
    })?;
    let mut role = role.clone();
    for option in options {
        match option {
            RoleOption::Password(password) => set_password(&mut role, password, context.salt)?,
            RoleOption::Login(login) => role.login = *login,
            RoleOption::SuperUser(superuser) => role.superuser = *superuser,
            RoleOption::Inherit(true) => {}
            other => return Err(SqlError::unsupported(format!("role option {other}"))),
        }
    }
    let edit = CatalogEdit::new().with(Change::PutRole(role));
    context.engine.commit_edit(&edit).map_err(edit_error)?;
    Ok(done("ALTER ROLE"))
}

/// ALTER USER … PASSWORD, which psql's `\password` sends.
pub(super) fn alter_user(alter: &AlterUser, context: &DdlContext<'_>) -> SqlResult<DdlDone> {
    let others = AlterUser { password: None, ..alter.clone() }.to_string();
    let password = match &alter.password {
        Some(AlterUserPassword { password, .. }) if others == format!("ALTER USER {}", alter.name) => {
            password
        }
        _ => return Err(SqlError::unsupported("ALTER USER of anything but the password")),
    };
    let password = match password {
        Some(text) => SqlPassword::Password(Expr::Value(Value::SingleQuotedString(text.clone()).into())),
        None => SqlPassword::NullPassword,
    };
    let operation = AlterRoleOperation::WithOptions { options: vec![RoleOption::Password(password)] };
    self::alter(&names::fold(&alter.name), &operation, context)
}

fn require_superuser(context: &DdlContext<'_>, what: &str) -> SqlResult<()> {
    if context.role.superuser {
        return Ok(());
    }
    let message = format!("permission denied to {what}");
    Err(SqlError::new(sqlstate::INSUFFICIENT_PRIVILEGE, message).with_detail("Only superusers may do that."))
}

fn set_password(role: &mut Role, password: &SqlPassword, salt: [u8; 16]) -> SqlResult<()> {
    role.verifier = match password {
        SqlPassword::NullPassword => None,
        SqlPassword::Password(Expr::Value(value)) => match &value.value {
            Value::SingleQuotedString(password) if !password.is_empty() => {
                Some(match password.starts_with(VERIFIER_PREFIX) {
                    true => verifier_from_text(password)?,
                    false => verifier(password, salt),
                })
            }
            Value::SingleQuotedString(_) => None,
            other => return Err(not_a_password(other)),
        },
        SqlPassword::Password(other) => return Err(not_a_password(other)),
    };
    Ok(())
}

fn not_a_password(what: &impl std::fmt::Display) -> SqlError {
    SqlError::new(sqlstate::SYNTAX_ERROR, format!("a password is a string, not {what}"))
}
