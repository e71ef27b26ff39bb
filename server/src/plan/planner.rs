//! What all sessions share for planning: functions, rules, memory; and the steps of planning.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::catalog::TableFunctionArgs;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, ParamValues, Result, ScalarValue, TableReference};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use sqlparser::ast;
use tidemark_catalog::collection::Collection;

use crate::config::Config;
use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::CatalogContext;
use crate::plan::aggregates;
use crate::plan::catalog_table::CatalogTable;
use crate::plan::errors::{external, to_sql_error};
use crate::plan::latest::LatestRule;
use crate::plan::memory::{QueryMemory, QueryPool};
use crate::plan::open;
use crate::plan::operators::PostgresOperators;
use crate::plan::options::StatementOptions;
use crate::plan::order::{self, KeepRule, RowOrder, SequenceRule};
use crate::plan::ordered;
use crate::plan::provider::{CollectionTable, StatementData};
use crate::plan::resolve::resolve_plan;
use crate::plan::rewrite;
use crate::plan::runs::RunRule;
use crate::plan::series;
use crate::plan::types::PostgresTypes;
use crate::sql::defaults::check_places;
use crate::sql::delete::TARGET_NAMESPACE;
use crate::sql::functions;
use crate::sql::names::Resolver;

/// What all sessions share.
pub struct Planner {
    /// Cloned for every query and given the query's own memory, data and settings.
    template: SessionState,
    memory: Arc<QueryMemory>,
    bytes_per_query: usize,
    runtime: Arc<RuntimeEnv>,
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner").field("memory", &self.memory).finish_non_exhaustive()
    }
}

/// The directory under the data directory where queries put what they have no memory for.
const SPILL_DIRECTORY: &str = "spill";

impl Planner {
    /// Makes it, with an empty spill directory.
    ///
    /// # Errors
    /// The spill directory cannot be made.
    pub fn new(config: &Config, partitions: usize) -> Result<Planner> {
        let spill = config.data_dir.join(SPILL_DIRECTORY);
        // What a process that was killed left behind helps nobody.
        if spill.exists() {
            std::fs::remove_dir_all(&spill)?;
        }
        std::fs::create_dir_all(&spill)?;
        let disk = DiskManager::builder()
            .with_mode(DiskManagerMode::Directories(vec![spill]))
            .with_max_temp_directory_size(config.query_spill_bytes)
            .build()?;
        let runtime = RuntimeEnv { disk_manager: Arc::new(disk), ..RuntimeEnv::default() };
        let mut options = SessionConfig::new()
            .with_target_partitions(partitions)
            .with_information_schema(false)
            .with_create_default_catalog_and_schema(false);
        let sql = &mut options.options_mut().sql_parser;
        sql.parse_float_as_decimal = true;
        sql.collect_spans = true;
        // What order matters is known when the whole plan is.
        sql.enable_subquery_sort_elimination = false;
        let defaults = SessionStateBuilder::new_with_default_features().build();
        let rules = optimizer_rules(&defaults);
        let physical_rules = physical_rules(&defaults);
        let template = SessionStateBuilder::new_from_existing(defaults).with_config(options);
        let template = template.with_optimizer_rules(rules);
        let mut template = template.with_physical_optimizer_rules(physical_rules).build();
        functions::register(&mut template)?;
        Ok(Planner {
            template,
            memory: QueryMemory::new(config.query_memory_bytes),
            bytes_per_query: config.query_memory_bytes_per_query,
            runtime: Arc::new(runtime),
        })
    }

    /// What queries use now.
    pub fn memory(&self) -> &QueryMemory {
        &self.memory
    }

    /// The logical plan of a query.
    ///
    /// # Errors
    /// As PostgreSQL says them.
    pub fn plan(&self, query: &ast::Query, context: &PlanContext<'_>) -> SqlResult<LogicalPlan> {
        check_places(query, context.text)?;
        let mut query = query.clone();
        rewrite::rewrite_query(&mut query, context.parameters)?;
        let mut options = self.template.config().options().as_ref().clone();
        options.execution.time_zone = Some(context.time_zone.to_string());
        let operators: Arc<dyn ExprPlanner> =
            Arc::new(PostgresOperators { time_zone: Arc::clone(&context.time_zone) });
        let planners = self.template.expr_planners().iter().cloned();
        let names = Names {
            state: &self.template,
            options: &options,
            types: Arc::new(PostgresTypes { time_zone: Arc::clone(&context.time_zone) }),
            expr_planners: std::iter::once(operators).chain(planners).collect(),
            context,
        };
        let planner = SqlToRel::new_with_options(&names, ParserOptions::from(&options.sql_parser));
        let mut planning = PlannerContext::new();
        planning = planning.with_prepare_param_data_types(context.parameters.to_vec());
        let plan =
            planner.sql_statement_to_plan_with_context(ast::Statement::Query(Box::new(query)), &mut planning);
        let plan = plan.map_err(|error| to_sql_error(error, Some(context.text)))?;
        let plan = resolve_plan(plan, &context.time_zone).and_then(order::without_vain_sorts);
        plan.map_err(|error| to_sql_error(error, Some(context.text)))
    }

    /// Whether a plan can be run. Queries within that refer to columns around them can be what DataFusion
    /// has no operator for, which shows when it turns them into joins, and UNNEST can lose columns; so
    /// these are planned to the end.
    ///
    /// # Errors
    /// It cannot be run.
    pub async fn check(
        &self,
        plan: &LogicalPlan,
        run: impl FnOnce() -> SqlResult<RunContext>,
    ) -> SqlResult<()> {
        if !is_doubtful(plan)? {
            return Ok(());
        }
        let state = self.state(run()?, RowOrder::Free);
        self.physical(&state, without_parameters(plan)?).await.map(drop)
    }

    /// Runs a logical plan: its schema, and its batches as they come.
    ///
    /// # Errors
    /// As PostgreSQL says them.
    pub async fn run(&self, plan: LogicalPlan, run: RunContext) -> SqlResult<Running> {
        let order = RowOrder::of(&plan).map_err(|error| to_sql_error(error, None))?;
        let state = self.state(run, order);
        let physical = self.physical(&state, plan).await?;
        let task = state.task_ctx();
        let stream =
            execute_stream(Arc::clone(&physical), task).map_err(|error| to_sql_error(error, None))?;
        Ok(Running { stream, physical })
    }

    async fn physical(&self, state: &SessionState, plan: LogicalPlan) -> SqlResult<Arc<dyn ExecutionPlan>> {
        state.create_physical_plan(&plan).await.map_err(|error| to_sql_error(error, None))
    }

    /// What carries out a statement.
    pub(super) fn state(&self, run: RunContext, order: RowOrder) -> SessionState {
        let pool = QueryPool::new(Arc::clone(&self.memory), self.bytes_per_query);
        let runtime = RuntimeEnv { memory_pool: Arc::new(pool), ..self.runtime.as_ref().clone() };
        let mut config = self.template.config().clone().with_extension(Arc::new(run.data));
        order.configure(&mut config);
        let options = config.options_mut();
        options.execution.time_zone = Some(run.time_zone.to_string());
        options.extensions.insert(run.options);
        let mut state = SessionStateBuilder::new_from_existing(self.template.clone())
            .with_config(config)
            .with_runtime_env(Arc::new(runtime))
            .build();
        // Functions are told these options, and not those of no session, only from here on.
        state.mark_start_execution();
        state
    }
}

/// DataFusion's rules for physical plans with ours: one sees an aggregation before its rows are divided, one
/// keeps sorts from the rule that drops them, and one changes what is divided in the end.
fn physical_rules(defaults: &SessionState) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = defaults.physical_optimizers().to_vec();
    let place = |rules: &[Arc<dyn PhysicalOptimizerRule + Send + Sync>], name: &str| {
        rules.iter().position(|rule| rule.name() == name)
    };
    let last = place(&rules, "EnsureCooperative").unwrap_or(rules.len());
    rules.insert(last, Arc::new(SequenceRule));
    let asked = place(&rules, "OutputRequirements").map_or(0, |at| at + 1);
    rules.insert(asked, Arc::new(KeepRule));
    rules.insert(0, Arc::new(RunRule));
    rules
}

/// DataFusion's rules, with ours before the one that would take the shape that ours looks for.
fn optimizer_rules(defaults: &SessionState) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = defaults.optimizer().rules.clone();
    let distinct = rules.iter().position(|rule| rule.name() == "replace_distinct_aggregate");
    rules.insert(distinct.unwrap_or(0), Arc::new(LatestRule));
    rules
}

/// A plan with NULL for each of its parameters, which are not known before it is run.
fn without_parameters(plan: &LogicalPlan) -> SqlResult<LogicalPlan> {
    let types = plan.get_parameter_types().map_err(|error| to_sql_error(error, None))?;
    let null = |(name, data_type): (String, Option<DataType>)| {
        let number = name.trim_start_matches('$').parse::<usize>().ok()?;
        Some((number, ScalarValue::try_from(&data_type.unwrap_or(DataType::Null)).ok()?))
    };
    let known: BTreeMap<usize, ScalarValue> = types.into_iter().filter_map(null).collect();
    let Some((last, _)) = known.last_key_value() else { return Ok(plan.clone()) };
    let value = |number| known.get(&number).cloned().unwrap_or(ScalarValue::Null);
    bind(plan, ParamValues::from((1..=*last).map(value).collect::<Vec<_>>()))
}

/// Whether a plan may turn out to be none.
fn is_doubtful(plan: &LogicalPlan) -> SqlResult<bool> {
    let mut is_doubtful = false;
    let visited = plan.apply_with_subqueries(|plan| {
        is_doubtful = is_doubtful || matches!(plan, LogicalPlan::Unnest(_));
        plan.apply_expressions(|expr| {
            is_doubtful = is_doubtful || expr.contains_outer();
            Ok(TreeNodeRecursion::Continue)
        })
    });
    visited.map_err(|error| to_sql_error(error, None))?;
    Ok(is_doubtful)
}

/// A query that runs.
pub struct Running {
    /// Its batches.
    pub stream: SendableRecordBatchStream,
    /// What is run, with its metrics.
    pub physical: Arc<dyn ExecutionPlan>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("physical", &self.physical).finish_non_exhaustive()
    }
}

/// What planning a query needs to know.
#[derive(Debug)]
pub struct PlanContext<'a> {
    /// The statement's text, for positions in errors.
    pub text: &'a str,
    /// Where names are looked up.
    pub resolver: &'a Resolver,
    /// The session's time zone.
    pub time_zone: Arc<str>,
    /// The catalog that the statement sees.
    pub catalog: &'a CatalogContext,
    /// The types of parameters as far as they are known, by number from 0.
    pub parameters: &'a [Option<FieldRef>],
    /// The collection of which the statement wants places of rows.
    pub target: Option<&'a Arc<Collection>>,
}

/// What running a plan needs.
#[derive(Debug)]
pub struct RunContext {
    /// The data that is read.
    pub data: StatementData,
    /// The session's time zone.
    pub time_zone: Arc<str>,
    /// What functions know of the session.
    pub options: StatementOptions,
}

/// Puts the values of parameters into a plan.
///
/// # Errors
/// As PostgreSQL says them.
pub fn bind(plan: &LogicalPlan, values: ParamValues) -> SqlResult<LogicalPlan> {
    plan.clone().with_param_values(values).map_err(|error| to_sql_error(error, None))
}

/// Where DataFusion's planner looks up names.
struct Names<'a> {
    state: &'a SessionState,
    options: &'a ConfigOptions,
    types: Arc<PostgresTypes>,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    context: &'a PlanContext<'a>,
}

impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let schema = name.schema();
        if schema == Some(TARGET_NAMESPACE)
            && let Some(target) = self.context.target
        {
            let table = CollectionTable::new(Arc::clone(target), &self.context.time_zone).with_row_ids();
            return Ok(provider_as_source(Arc::new(table)));
        }
        let catalog = self.context.catalog;
        if let Some(table) = CatalogTable::find(schema, name.table(), catalog, &self.context.time_zone) {
            return Ok(provider_as_source(Arc::new(table)));
        }
        let collection = self.context.resolver.collection(schema, name.table()).map_err(external)?;
        let table = CollectionTable::new(Arc::clone(&collection), &self.context.time_zone);
        Ok(provider_as_source(Arc::new(table)))
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        let function = self.state.table_functions().get(name).cloned().ok_or_else(|| {
            let message = format!("function {name} does not exist");
            external(SqlError::new(crate::sqlstate::UNDEFINED_FUNCTION, message))
        })?;
        let context =
            SimplifyContext::builder().with_config_options(Arc::clone(self.state.config_options())).build();
        let simplifier = ExprSimplifier::new(context);
        let schema = DFSchema::empty();
        let args = args
            .into_iter()
            .map(|arg| simplifier.coerce(arg, &schema).and_then(|arg| simplifier.simplify(arg)));
        let args = args.collect::<Result<Vec<_>>>()?;
        if name == "generate_series" {
            return series::source(&args, &function, self.state, &self.context.time_zone);
        }
        let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&args, self.state))?;
        Ok(provider_as_source(provider))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.state.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::clone(&self.types) as Arc<dyn TypePlanner>)
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        if let Some(function) = functions::in_time_zone(name, &self.context.time_zone) {
            return Some(Arc::new(function));
        }
        let Some(function) = self.state.scalar_functions().get(name).cloned() else {
            // DataFusion has unnest as a form of its own.
            let found = functions::interpreted::by_name(name, &self.context.time_zone);
            return found.filter(|_| name != "unnest").map(Arc::new);
        };
        Some(open::by_name(name, &function).unwrap_or(function))
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        aggregates::by_name(name)
            .or_else(|| ordered::by_name(name))
            .or_else(|| self.state.aggregate_functions().get(name).cloned())
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
