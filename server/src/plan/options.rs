//! What functions know of the session whose statement they are in.

use std::any::Any;
use std::sync::Arc;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::{Result, config_err};

use crate::pg_catalog::CatalogContext;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::timezone::TimeZone;

/// What functions know of the session whose statement they are in; it travels in DataFusion's
/// options.
#[derive(Clone, Debug)]
pub struct StatementOptions {
    /// How values are written and read, and when the transaction started.
    pub format: FormatSettings,
    /// The role.
    pub role: String,
    /// The database.
    pub database: String,
    /// The namespaces in which names are looked up.
    pub search_path: Vec<String>,
    /// What functions of the catalog know; `None` where nothing calls one.
    pub catalog: Option<Arc<CatalogContext>>,
}

impl StatementOptions {
    /// How values are written and read; in UTC where no statement is known.
    pub fn format(options: &ConfigOptions) -> FormatSettings {
        match options.extensions.get::<StatementOptions>() {
            Some(statement) => statement.format.clone(),
            None => FormatSettings::initial(TimeZone::utc(), 0),
        }
    }
}

impl ConfigExtension for StatementOptions {
    const PREFIX: &'static str = "tidemark";
}

impl ExtensionOptions for StatementOptions {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _: &str) -> Result<()> {
        config_err!("tidemark.{key} is not set this way")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
