//! Conditions, and subqueries within expressions.

use std::sync::Arc;

use sqlparser::ast::{BinaryOperator, Expr as Ast, Query, ValueWithSpan};

use crate::error::SqlError;
use crate::pg_catalog::compile::{Compiled, Compiler, Fault, Typed};
use crate::pg_catalog::operators::{Comparison, Operator};
use crate::pg_catalog::plan::{Expr, QueryPlan, Subquery};
use crate::pg_catalog::types;
use crate::pgtype::PgType;
use crate::pgtype::types::{Family, NO_TYPMOD, element_type_of, family};
use crate::sql::tuples;
use crate::sqlstate;

impl Compiler<'_> {
    pub(super) fn condition(&mut self, expr: &Ast) -> Compiled<Typed> {
        let boxed =
            |this: &mut Self, inner: &Ast| -> Compiled<Box<Expr>> { Ok(Box::new(this.expr(inner)?.expr)) };
        let truth = |this: &mut Self, inner: &Ast, wanted| -> Compiled<Expr> {
            let value = this.expr(inner)?;
            Ok(Expr::Is(Box::new(this.boolean(value, "IS")?), wanted))
        };
        if let Ast::IsNull(inner) | Ast::IsNotNull(inner) = expr
            && let Some(columns) = tuples::columns(inner)
        {
            return self.expr(&tuples::all_null(columns, matches!(expr, Ast::IsNull(_)))?);
        }
        let compiled = match expr {
            Ast::IsNull(inner) | Ast::IsUnknown(inner) => Expr::IsNull(boxed(self, inner)?),
            Ast::IsNotNull(inner) | Ast::IsNotUnknown(inner) => {
                negate(Expr::IsNull(boxed(self, inner)?), true)
            }
            Ast::IsTrue(inner) => truth(self, inner, true)?,
            Ast::IsFalse(inner) => truth(self, inner, false)?,
            Ast::IsNotTrue(inner) => negate(truth(self, inner, true)?, true),
            Ast::IsNotFalse(inner) => negate(truth(self, inner, false)?, true),
            Ast::IsDistinctFrom(left, right) | Ast::IsNotDistinctFrom(left, right) => {
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                let (left, right) = self.comparable(Comparison::Equal, left, right)?;
                let distinct = Expr::IsDistinct(Box::new(left.expr), Box::new(right.expr));
                negate(distinct, matches!(expr, Ast::IsNotDistinctFrom(..)))
            }
            Ast::InList { expr, list, negated } => negate(self.in_list(expr, list)?, *negated),
            Ast::InSubquery { expr, subquery, negated } => {
                negate(self.in_query(expr, &BinaryOperator::Eq, subquery, false)?, *negated)
            }
            Ast::Between { expr, negated, low, high } => {
                let value = self.expr(expr)?;
                let (low, high) = (self.expr(low)?, self.expr(high)?);
                let low = self.compare(Comparison::GreaterOrEqual, value.clone(), low)?;
                let high = self.compare(Comparison::LessOrEqual, value, high)?;
                negate(Expr::And(vec![low.expr, high.expr]), *negated)
            }
            Ast::Like { negated, any: false, expr, pattern, escape_char } => {
                let operator =
                    if *negated { BinaryOperator::PGNotLikeMatch } else { BinaryOperator::PGLikeMatch };
                return self.like(expr, &operator, pattern, escape_char.as_ref());
            }
            Ast::ILike { negated, any: false, expr, pattern, escape_char } => {
                let operator =
                    if *negated { BinaryOperator::PGNotILikeMatch } else { BinaryOperator::PGILikeMatch };
                return self.like(expr, &operator, pattern, escape_char.as_ref());
            }
            Ast::AnyOp { left, compare_op, right, .. } => self.quantified(left, compare_op, right, false)?,
            Ast::AllOp { left, compare_op, right } => self.quantified(left, compare_op, right, true)?,
            other => return self.spelled_function(other),
        };
        Ok(Typed::new(compiled, PgType::BOOL))
    }

    /// Another escape character is made the usual one in the pattern.
    fn like(
        &mut self,
        text: &Ast,
        operator: &BinaryOperator,
        pattern: &Ast,
        escape: Option<&ValueWithSpan>,
    ) -> Compiled<Typed> {
        let text = self.expr(text)?;
        let mut pattern = self.expr(pattern)?;
        if let Some(escape) = escape {
            let escape = self.expr(&Ast::Value(escape.clone()))?;
            pattern = self.scalar_call("like_escape", vec![pattern, escape])?;
        }
        self.operate(operator, text, pattern)
    }

    fn in_list(&mut self, left: &Ast, list: &[Ast]) -> Compiled<Expr> {
        if let Some(lefts) = tuples::columns(left) {
            let mut tests = Vec::new();
            for item in list {
                let rights = tuples::columns(item).ok_or(Fault::NotOurs)?;
                tests.push(self.expr(&tuples::compared(lefts, &BinaryOperator::Eq, rights)?)?.expr);
            }
            return Ok(Expr::Or(tests));
        }
        let left = self.expr(left)?;
        let items = list.iter().map(|it| self.expr(it)).collect::<Compiled<Vec<_>>>()?;
        if left.pg_type == PgType::RECORD {
            let mut tests = Vec::new();
            for item in items {
                tests.push(self.compare(Comparison::Equal, left.clone(), item)?.expr);
            }
            return Ok(Expr::Or(tests));
        }
        // The left side has one type for all of the list.
        let mut common = left.clone();
        let mut exprs = Vec::new();
        for item in items {
            let (one, other) = self.comparable(Comparison::Equal, common, item)?;
            common = one;
            exprs.push(other.expr);
        }
        Ok(Expr::InList(Box::new(common.expr), exprs))
    }

    fn in_query(
        &mut self,
        left: &Ast,
        operator: &BinaryOperator,
        query: &Query,
        all: bool,
    ) -> Compiled<Expr> {
        let mut lefts = Vec::new();
        match left {
            Ast::Tuple(items) => {
                for item in items {
                    lefts.push(self.expr(item)?);
                }
            }
            single => lefts.push(self.expr(single)?),
        }
        let mut plan = self.query(query)?;
        self.settle(&mut plan)?;
        if plan.columns.len() != lefts.len() {
            let few = plan.columns.len() < lefts.len();
            let message = format!("subquery has too {} columns", if few { "few" } else { "many" });
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message).into());
        }
        let mut settled = Vec::new();
        let mut used = Operator::Compare(Comparison::Equal);
        for (value, column) in lefts.into_iter().zip(&plan.columns) {
            let right = Typed::new(Expr::null(), column.pg_type.clone());
            let (operator, value, right, _) = self.settle_operator(operator, value, right)?;
            if right.pg_type != column.pg_type {
                return Err(Fault::NotOurs);
            }
            used = operator;
            settled.push(value.expr);
        }
        let query = Subquery(Arc::new(plan));
        Ok(Expr::QuantifiedQuery { operator: used, left: settled, query, all })
    }

    fn quantified(
        &mut self,
        left: &Ast,
        operator: &BinaryOperator,
        right: &Ast,
        all: bool,
    ) -> Compiled<Expr> {
        if let Ast::Subquery(query) = strip(right) {
            return self.in_query(left, operator, query, all);
        }
        let left = self.expr(left)?;
        let mut array = self.expr(right)?;
        if array.is_unknown() {
            let element = if left.is_unknown() { PgType::TEXT } else { left.pg_type.clone() };
            let element = if family(&element) == Family::Reg { PgType::OID } else { element };
            let to = types::array_of(&element)?;
            array = self.coerce(array, &to, NO_TYPMOD, false)?;
        }
        let Some(element) = element_type_of(&array.pg_type) else {
            let message = "op ANY/ALL (array) requires array on right side";
            return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message).into());
        };
        let item = Typed::new(Expr::null(), element.clone());
        let (operator, left, item, _) = self.settle_operator(operator, left, item)?;
        if item.pg_type != element {
            let to = types::array_of(&item.pg_type)?;
            array = self.coerce(array, &to, NO_TYPMOD, true)?;
        }
        let (left, array) = (Box::new(left.expr), Box::new(array.expr));
        Ok(Expr::Quantified { operator, left, array, all })
    }

    pub(super) fn scalar_query(&mut self, query: &Query) -> Compiled<Typed> {
        let mut plan = self.query(query)?;
        let [column] = plan.columns.as_slice() else {
            let message = "subquery must return only one column";
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message).into());
        };
        let column = column.clone();
        self.settle(&mut plan)?;
        let settled = plan.columns[0].pg_type.clone();
        let expr = Expr::Scalar(Subquery(Arc::new(plan)));
        Ok(Typed { typmod: column.typmod, shape: column.shape, ..Typed::new(expr, settled) })
    }

    /// ARRAY(query)
    pub(super) fn array_query(&mut self, query: &Query) -> Compiled<Typed> {
        let mut plan: QueryPlan = self.query(query)?;
        self.settle(&mut plan)?;
        let [column] = plan.columns.as_slice() else {
            let message = "subquery must return only one column";
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message).into());
        };
        let element = column.pg_type.clone();
        let pg_type = types::array_of(&element)?;
        Ok(Typed::new(Expr::ArrayOf(Subquery(Arc::new(plan)), element), pg_type))
    }
}

fn strip(expr: &Ast) -> &Ast {
    match expr {
        Ast::Nested(inner) => strip(inner),
        other => other,
    }
}

/// `NOT`, where it is asked for.
pub(super) fn negate(expr: Expr, negated: bool) -> Expr {
    if negated { Expr::Not(Box::new(expr)) } else { expr }
}
