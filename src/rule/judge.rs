//! A closure on one sample: the verdict, or the fault.
//!
//! A closure's body is taken out of its file and evaluated as a small program of its own, because that
//! costs about half of a function call. What can be lowered ([`super::native`]) is judged without Rhai.

use std::rc::Rc;

use rhai::{AST, ASTNode, Caches, Dynamic, EvalAltResult, Expr, FnPtr, ImmutableString, Scope, Shared, Stmt};

use super::around::{self, Asks};
use super::ask::{Ask, Recall};
use super::functions::{self, Function};
use super::language::{LONGEST_WINDOW, Language, PROPERTIES, PointView, unknown_reason};
use super::native::Native;
use super::seen::Around;
use crate::engine::{Health, Needs, Past};
use crate::model::{Point, Reason, parse_duration};

/// How Rhai names closures.
const ANONYMOUS: &str = "anon$";
/// Calls whose functions are kept; all rules together have some hundred.
const MOST_CALLS: usize = 4_096;

/// A compiled closure.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its statements, and the functions of its file if it can reach them.
    ast: AST,
    /// The calls in the closure whose answers have to be kept, each once.
    pub asks: Vec<Ask>,
    /// What of the sensor's health it asks for.
    pub needs: Needs,
    /// What it asks beyond its point.
    pub beyond: Rc<Asks>,
    /// Without Rhai, or why not.
    pub native: Result<Native, String>,
    /// Place of its calls among those of its rule: the closures of a rule share one list.
    pub first_ask: usize,
}

impl Program {
    /// Takes the closure out of its file. `limits` are the names that the rule gives. The text says what in
    /// the closure cannot work: a misspelt name is told here and not at the first sample.
    pub fn new<'n>(closure: &FnPtr, file: &AST, limits: impl Iterator<Item = &'n String>) -> Result<Self, String> {
        let limits: Vec<&str> = limits.map(String::as_str).collect();
        let name = closure.fn_name();
        let mut own = file.clone_functions_only();
        own.retain_functions(|_, _, candidate, _| candidate == name);
        let parameters: Vec<Vec<&str>> = own.iter_functions().map(|function| function.params.clone()).collect();
        let [[point]] = parameters.iter().map(Vec::as_slice).collect::<Vec<_>>()[..] else {
            return Err("takes one parameter, the point: |p| ..".into());
        };
        let mut body: Vec<Stmt> = Vec::new();
        let mut asks: Vec<Ask> = Vec::new();
        // A name that there is not says more than a call that cannot be read because of it.
        let (mut needs, mut wrong, mut wrong_call) = (Needs::default(), None, None);
        let mut around = around::Reader::new(point);
        let mut alone = !file.iter_functions().any(|function| !function.name.starts_with(ANONYMOUS));
        own.walk(&mut |path: &[ASTNode]| {
            if let [ASTNode::Stmt(statement)] = path {
                body.push((*statement).clone());
            }
            alone &= !path.last().is_some_and(reaches_for_functions);
            match around.node(path) {
                Ok(false) => {}
                Ok(true) => return true,
                Err(told) => wrong = wrong.take().or(Some(told)),
            }
            match path.last() {
                Some(ASTNode::Expr(Expr::MethodCall(call, _))) if Function::named(&call.name).is_some() => {
                    let read = Function::named(&call.name).map(|function| Ask::read(function, call, point, &limits));
                    match read {
                        Some(Ok(ask)) if !asks.contains(&ask) => asks.push(ask),
                        Some(Err(why)) => wrong_call = wrong_call.take().or(Some(why)),
                        Some(Ok(_)) | None => {}
                    }
                }
                Some(ASTNode::Expr(Expr::MethodCall(call, _))) if call.name == "has" => {
                    if let [Expr::StringConstant(word, _)] = call.args.as_slice()
                        && Reason::from_word(word).is_none()
                    {
                        wrong = Some(unknown_reason(word));
                    }
                }
                Some(ASTNode::Expr(Expr::Property(property, _))) => needs = needs.and(Needs::of(&property.2)),
                Some(ASTNode::Expr(Expr::Dot(asked, ..))) => {
                    wrong = wrong.take().or_else(|| unknown_name(&asked.lhs, &asked.rhs, point, &limits));
                }
                Some(ASTNode::Expr(_) | ASTNode::Stmt(_) | _) | None => {}
            }
            true
        });
        if let Some(wrong) = wrong.or(wrong_call) {
            return Err(wrong);
        }
        let beyond = around.finish();
        check_spans(beyond.windows.iter().map(|window| &window.span))?;
        let native = Native::lower(&body, point, &limits, &asks, &beyond);
        let functions = if alone { Shared::default() } else { file.shared_lib().clone() };
        let ast = AST::new(body, functions);
        Ok(Self { ast, asks, needs, beyond: beyond.into(), native, first_ask: 0 })
    }

    /// Can it call functions of its file?
    pub(super) fn reaches_functions(&self) -> bool {
        self.ast.has_functions()
    }
}

/// A closure within the closure, or a function by its name: they are looked for among the file's when they are called.
fn reaches_for_functions(node: &ASTNode) -> bool {
    match node {
        ASTNode::Expr(Expr::DynamicConstant(..)) => true,
        ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _)) => {
            matches!(&*call.name, "Fn" | "curry" | "call")
        }
        ASTNode::Expr(_) | ASTNode::Stmt(_) | _ => false,
    }
}

fn check_spans<'s>(spans: impl Iterator<Item = &'s Rc<str>>) -> Result<(), String> {
    for span in spans {
        let length = parse_duration(span).map_err(|error| error.to_string())?;
        if length.is_zero() || length > LONGEST_WINDOW {
            return Err(format!("the window {span:?} is not between 1ms and 24h"));
        }
    }
    Ok(())
}

/// What `point.rhs` asks for that there is not.
fn unknown_name(lhs: &Expr, rhs: &Expr, point: &str, limits: &[&str]) -> Option<String> {
    let Expr::Variable(variable, ..) = lhs else { return None };
    if variable.1 != point {
        return None;
    }
    let (first, then) = if let Expr::Dot(inner, ..) = rhs { (&inner.lhs, Some(&inner.rhs)) } else { (rhs, None) };
    if let Expr::MethodCall(call, _) = first {
        let name = call.name.as_str();
        let known = name == "has" || around::FUNCTIONS.contains(&name) || Function::named(name).is_some();
        let around = around::FUNCTIONS.join(", ");
        return (!known)
            .then(|| format!("asks {point}.{name}(..), but functions are has, {}, {around}", functions::names()));
    }
    let Expr::Property(property, _) = first else { return None };
    let name = property.2.as_str();
    if !PROPERTIES.contains(&name) && !around::PROPERTIES.contains(&name) {
        let known = [&PROPERTIES[..], &around::PROPERTIES].concat().join(", ");
        return Some(format!("asks {point}.{name}, but a point has {known}"));
    }
    if name != "limit" {
        return None;
    }
    let named = match then {
        None => return Some(format!("asks {point}.limit without a name, such as {point}.limit.alarm")),
        Some(then) => {
            if let Expr::Dot(further, ..) = then {
                &further.lhs
            } else {
                then
            }
        }
    };
    let Expr::Property(named, _) = named else { return None };
    let named = named.2.as_str();
    let known = if limits.is_empty() { "none".to_owned() } else { limits.join(", ") };
    (!limits.contains(&named)).then(|| format!("asks {point}.limit.{named}, but the rule's limits are {known}"))
}

/// What a closure looks at.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    /// Absent when no usable sample has come.
    pub value: Option<f64>,
    pub health: Health,
    pub age_s: f64,
    pub point: &'a Point,
    pub limits: &'a Rc<[(ImmutableString, f64)]>,
    pub recalls: &'a Rc<[Recall]>,
    /// What the engine saw around the point; only for closures that ask.
    pub around: Option<&'a Rc<Around>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Judged {
    Says(bool),
    /// It asked for something that is not known.
    Unknown,
    /// It failed, ran over its budget or answered something else than true or false.
    Fault(String),
}

/// Runs programs.
pub struct Judge<'a> {
    language: &'a Language,
    scope: Scope<'static>,
    /// Which function a call is, as Rhai found it before: to look for all of them at each verdict takes longer than
    /// the verdict.
    calls: Caches,
}

impl<'a> Judge<'a> {
    #[must_use]
    pub fn new(language: &'a Language) -> Self {
        let mut scope = Scope::new();
        scope.push("p", PointView(language.scene.clone()));
        Self { language, scope, calls: Caches::new() }
    }

    /// One verdict; `past` is the point's.
    pub fn judge(&mut self, program: &Program, reading: &Reading<'_>, past: &mut Past) -> Judged {
        if !program.asks.is_empty() {
            past.settle();
        }
        match &program.native {
            Ok(native) => native.judge(reading, past, program.first_ask),
            Err(_) => self.interpret(program, reading, past),
        }
    }

    /// The same by Rhai, lowered or not. It walks the syntax tree: its machine took 97 % of that time for closures as
    /// short as rules are, and counts the operations of all runs together.
    pub fn interpret(&mut self, program: &Program, reading: &Reading<'_>, past: &mut Past) -> Judged {
        let engine = &self.language.engine;
        if program.reaches_functions() {
            // They are the file's own: another file's may have the same names.
            let run = |scope: &mut Scope<'static>| engine.eval_ast_with_scope::<Dynamic>(scope, &program.ast);
            return self.with_scene(program, reading, past, run);
        }
        let mut calls = std::mem::take(&mut self.calls);
        let known = calls.fn_resolution_cache_mut();
        if known.dict.len() > MOST_CALLS {
            known.clear();
        }
        let judged = self.with_scene(program, reading, past, |scope| {
            // Counts the operations of this run alone.
            let run = &mut engine.new_global_runtime_state();
            #[allow(deprecated, reason = "the only way to keep what calls were found to be")]
            engine.eval_statements_raw(run, &mut calls, scope, program.ast.statements())
        });
        self.calls = calls;
        judged
    }

    /// The same by Rhai's machine, to compare with.
    #[cfg(any(test, fuzzing))]
    pub fn by_machine(&mut self, program: &Program, reading: &Reading<'_>, past: &mut Past) -> Judged {
        let engine = &self.language.engine;
        let code = rhai::grain::Compiler::new().compile(&program.ast);
        self.with_scene(program, reading, past, |scope| rhai::grain::Vm::new(engine).eval_with_scope(scope, &code))
    }

    fn with_scene(
        &mut self,
        program: &Program,
        reading: &Reading<'_>,
        past: &mut Past,
        run: impl FnOnce(&mut Scope<'static>) -> Result<Dynamic, Box<EvalAltResult>>,
    ) -> Judged {
        let scene = &self.language.scene;
        scene.value.set(reading.value.unwrap_or(0.0));
        scene.has_value.set(reading.value.is_some());
        scene.health.set(reading.health);
        scene.age_s.set(reading.age_s);
        scene.period_s.set(reading.point.period.as_secs_f64());
        scene.resolution.set(reading.point.resolution);
        scene.range.set(reading.point.range);
        scene.limits.borrow_mut().clone_from(reading.limits);
        scene.recalls.borrow_mut().clone_from(reading.recalls);
        scene.asks.set((program.first_ask, program.asks.len()));
        scene.beyond.borrow_mut().clone_from(&program.beyond);
        *scene.around.borrow_mut() = reading.around.cloned();
        scene.missing.set(false);
        // Lent to the scene for the verdict, because what Rhai calls must own what it looks at.
        std::mem::swap(&mut *scene.past.borrow_mut(), past);
        let answer = run(&mut self.scope);
        std::mem::swap(&mut *scene.past.borrow_mut(), past);
        // The engine looks around in it again.
        *scene.around.borrow_mut() = None;
        self.scope.rewind(1);
        match answer {
            Ok(answer) => match answer.as_bool() {
                Ok(says) => Judged::Says(says),
                Err(kind) => Judged::Fault(format!("answered {kind}, not true or false")),
            },
            Err(_) if scene.missing.get() => Judged::Unknown,
            Err(error) => Judged::Fault(error.to_string()),
        }
    }
}
