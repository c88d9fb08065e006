//! Where the parts of a rule stand in its file, so that a problem names line and column.
//!
//! In comes the file's text; out comes, for a `rule(..)` call at a position and a key such as
//! `limits.alarm.unit`, the position of that key. A rule that is built by a variable or a function has no keys
//! of its own there: then it is the call's position. Read only when there is a problem.

use std::collections::HashMap;

use rhai::{AST, ASTNode, Engine, Expr, FnCallExpr, Position, Stmt};

#[derive(Debug, Default)]
pub(super) struct Places(HashMap<Position, HashMap<String, Position>>);

impl Places {
    /// `reader` must not optimise: it would fold maps into values that have no position.
    pub fn read(reader: &Engine, text: &str) -> Self {
        let mut places = Self::default();
        if let Ok(ast) = reader.compile(text) {
            places.collect(&ast);
        }
        places
    }

    fn collect(&mut self, ast: &AST) {
        ast.walk(&mut |path: &[ASTNode]| {
            if let Some(ASTNode::Stmt(Stmt::FnCall(call, at)) | ASTNode::Expr(Expr::FnCall(call, at))) = path.last() {
                self.note(call, *at);
            }
            true
        });
    }

    fn note(&mut self, call: &FnCallExpr, at: Position) {
        if let ("rule", [_, Expr::Map(body, _)]) = (call.name.as_str(), call.args.as_slice()) {
            let mut keys = HashMap::new();
            note_keys("", &body.0, &mut keys);
            self.0.insert(at, keys);
        }
    }

    /// The position of `key`, or of what it stands in.
    pub fn find(&self, call: Position, key: &str) -> Position {
        let Some(keys) = self.0.get(&call) else { return call };
        let mut key = key;
        loop {
            match (keys.get(key), key.rsplit_once('.')) {
                (Some(at), _) => return *at,
                (None, Some((outer, _))) => key = outer,
                (None, None) => return call,
            }
        }
    }
}

fn note_keys(under: &str, entries: &[(rhai::Ident, Expr)], keys: &mut HashMap<String, Position>) {
    for (name, value) in entries {
        let path = if under.is_empty() { name.name.to_string() } else { format!("{under}.{}", name.name) };
        if let Expr::Map(inner, _) = value {
            note_keys(&path, &inner.0, keys);
        }
        keys.insert(path, name.pos);
    }
}
