//! The functions of Terraform's core as pure functions over values.
//!
//! Names, parameters and result types are data, made from Terraform's own output (`data/functions-1.11.json`). A name
//! without an implementation gives an unknown of its result type and never an error. What an implementation cannot decide
//! exactly as Terraform does (another regular expression dialect, a Unicode table of another age) is unknown too.

mod collection;
mod date;
mod encoding;
mod file;
pub mod format;
mod json;
mod marks;
mod math;
mod network;
mod pattern;
mod sets;
mod signature;
mod text;
mod yaml;

use super::convert::convert;
use super::types::Type;
use super::value::{Cause, CauseKind, Marks, Value};
pub use file::{FileError, Files, NoFiles};
pub use json::encode;
pub use signature::{Parameter, Signature, names, signature};

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which argument is to blame, if one is.
    pub argument: Option<usize>,
    /// What is wrong with it, or with the call.
    pub message: String,
}

impl Fault {
    fn call(message: impl Into<String>) -> Self {
        Self { argument: None, message: message.into() }
    }
    fn argument(index: usize, message: impl Into<String>) -> Self {
        Self { argument: Some(index), message: message.into() }
    }
}

/// What a call gives.
pub type Outcome = Result<Value, Fault>;

/// What functions may use besides their arguments.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// Files, seen from the module.
    pub files: &'a dyn Files,
    /// Largest result, in bytes.
    pub max_bytes: u64,
}

/// The arguments of one call, converted to the parameters' types.
struct Call<'a> {
    name: &'a str,
    args: Vec<Value>,
    env: Env<'a>,
}

impl Call<'_> {
    /// An argument; there are as many as the signature asks for.
    fn arg(&self, index: usize) -> Result<&Value, Fault> {
        self.args.get(index).ok_or_else(|| Fault::call(format!("argument {} is missing", index + 1)))
    }
    /// A known text argument.
    fn text(&self, index: usize) -> Result<&str, Fault> {
        self.arg(index)?.as_str().ok_or_else(|| Fault::argument(index, "a string is required"))
    }
    /// A known number argument.
    fn number(&self, index: usize) -> Result<&super::number::Number, Fault> {
        self.arg(index)?.as_number().ok_or_else(|| Fault::argument(index, "a number is required"))
    }
    /// A known whole number argument of machine size.
    fn int(&self, index: usize) -> Result<i64, Fault> {
        self.number(index)?.to_i64().ok_or_else(|| Fault::argument(index, "a whole number is required"))
    }
    /// An unknown result of the type, because of the first unknown argument, or else of the function itself.
    fn unknown(&self, ty: Type) -> Value {
        let cause = self.args.iter().find_map(Value::deep_cause);
        Value::unknown_not_null(ty, cause.unwrap_or_else(|| self.not_computed()))
    }
    /// An unknown result that may be null or of any type.
    fn undecided(&self) -> Value {
        let cause = self.args.iter().find_map(Value::deep_cause);
        Value::unknown(Type::Dynamic, cause.unwrap_or_else(|| self.not_computed()))
    }
    fn not_computed(&self) -> Cause {
        Cause::new(CauseKind::Function, format!("{}()", self.name))
    }
    /// The result would be larger than allowed.
    fn too_large(&self, ty: Type) -> Value {
        Value::unknown(ty, Cause::new(CauseKind::Budget, format!("result of {}() is too large", self.name)))
    }
    fn fits(&self, bytes: u64) -> bool {
        bytes <= self.env.max_bytes
    }
}

/// When an unknown argument alone makes the result unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Every argument wholly known.
    Whole,
    /// Every argument known at its top.
    Top,
    /// The implementation decides.
    Nothing,
}

/// How marks reach the result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Marking {
    /// Any mark anywhere in an argument marks the result.
    Deep,
    /// Marks at the top of an argument mark the result; those of elements stay with the elements.
    Top,
    /// The implementation decides.
    Own,
}

struct Function {
    run: fn(&Call<'_>) -> Outcome,
    needs: Needs,
    marking: Marking,
}

/// Functions of the moment or of chance: unknown by nature.
const UNPREDICTABLE: [&str; 4] = ["bcrypt", "plantimestamp", "timestamp", "uuid"];

/// Names of the core that the evaluator carries out itself, because they take expressions or render templates.
const IN_EVALUATOR: [&str; 4] = ["can", "templatefile", "templatestring", "try"];

/// Names without an implementation; each gives an unknown of its type.
///
/// `base64gzip` depends on one library's choice of matches, `rsadecrypt` takes a private key, which has no place in a linter.
pub const NOT_COMPUTED: [&str; 2] = ["base64gzip", "rsadecrypt"];

/// Calls a function of the core by its plain name, with arguments as they were evaluated.
pub fn call(name: &str, args: Vec<Value>, env: Env<'_>) -> Outcome {
    let Some(signature) = signature(name) else {
        return Err(Fault::call(format!("there is no function named \"{name}\"")));
    };
    signature.check_count(args.len())?;
    let Some(function) = implementation(name) else {
        let marks = args.iter().fold(Marks::NONE, |m, v| m.union(v.deep_marks()));
        convert_all(signature, args)?;
        let cause = Cause::new(CauseKind::Function, format!("{name}()"));
        return Ok(Value::unknown_not_null(signature.returns.clone(), cause).marked(marks));
    };
    let mut args = convert_all(signature, args)?;
    let mut marks = Marks::NONE;
    match function.marking {
        Marking::Deep => {
            marks = args.iter().fold(marks, |m, v| m.union(v.deep_marks()));
            if !marks.is_none() {
                args = args.iter().map(Value::unmarked_deep).collect();
            }
        }
        Marking::Top => {
            marks = args.iter().fold(marks, |m, v| m.union(v.marks()));
            args = args.into_iter().map(Value::unmarked).collect();
        }
        Marking::Own => {}
    }
    let open = match function.needs {
        Needs::Whole => args.iter().any(|v| !v.is_wholly_known()),
        Needs::Top => args.iter().any(|v| !v.is_known()),
        Needs::Nothing => false,
    };
    let call = Call { name, args, env };
    if open {
        return Ok(if signature.returns == Type::Dynamic {
            call.undecided()
        } else {
            call.unknown(signature.returns.clone())
        }
        .marked(marks));
    }
    (function.run)(&call).map(|value| value.marked(marks))
}

/// Arguments in the types of the parameters; null only where it is allowed.
fn convert_all(signature: &Signature, args: Vec<Value>) -> Result<Vec<Value>, Fault> {
    let mut converted = Vec::with_capacity(args.len());
    for (i, arg) in args.into_iter().enumerate() {
        let Some(parameter) = signature.parameter(i) else { continue };
        let value = convert(&arg, &parameter.ty)
            .map_err(|e| Fault::argument(i, format!("invalid value for \"{}\" parameter: {e}", parameter.name)))?;
        if value.is_null() && !parameter.nullable {
            return Err(Fault::argument(
                i,
                format!("invalid value for \"{}\" parameter: argument must not be null", parameter.name),
            ));
        }
        converted.push(value);
    }
    Ok(converted)
}

/// Whether the name has a definite result here, given definite arguments.
pub fn is_computed(name: &str) -> bool {
    implementation(name).is_some() || IN_EVALUATOR.contains(&name)
}

/// Whether the result depends on the moment or on chance.
pub fn is_unpredictable(name: &str) -> bool {
    UNPREDICTABLE.contains(&name)
}

fn implementation(name: &str) -> Option<Function> {
    use Marking::{Deep, Own, Top as Outer};
    use Needs::{Nothing, Top, Whole};
    let (run, needs, marking): (fn(&Call<'_>) -> Outcome, Needs, Marking) = match name {
        "abs" => (math::abs, Whole, Deep),
        "abspath" => (file::abspath, Whole, Deep),
        "alltrue" => (collection::alltrue, Nothing, Deep),
        "anytrue" => (collection::anytrue, Nothing, Deep),
        "base64decode" => (encoding::base64decode, Whole, Deep),
        "base64encode" => (encoding::base64encode, Whole, Deep),
        "base64sha256" => (encoding::base64sha256, Whole, Deep),
        "base64sha512" => (encoding::base64sha512, Whole, Deep),
        "basename" => (file::basename, Whole, Deep),
        "ceil" => (math::ceil, Whole, Deep),
        "chomp" => (text::chomp, Whole, Deep),
        "chunklist" => (collection::chunklist, Top, Outer),
        "cidrhost" => (network::cidrhost, Whole, Deep),
        "cidrnetmask" => (network::cidrnetmask, Whole, Deep),
        "cidrsubnet" => (network::cidrsubnet, Whole, Deep),
        "cidrsubnets" => (network::cidrsubnets, Whole, Deep),
        "coalesce" => (collection::coalesce, Nothing, Deep),
        "coalescelist" => (collection::coalescelist, Nothing, Deep),
        "compact" => (collection::compact, Whole, Deep),
        "concat" => (collection::concat, Nothing, Outer),
        "contains" => (collection::contains, Nothing, Deep),
        "csvdecode" => (encoding::csvdecode, Whole, Deep),
        "dirname" => (file::dirname, Whole, Deep),
        "distinct" => (collection::distinct, Whole, Deep),
        "element" => (collection::element, Nothing, Outer),
        "endswith" => (text::endswith, Whole, Deep),
        "ephemeralasnull" => (marks::ephemeralasnull, Nothing, Own),
        "file" => (file::file, Whole, Deep),
        "filebase64" => (file::filebase64, Whole, Deep),
        "filebase64sha256" => (file::filebase64sha256, Whole, Deep),
        "filebase64sha512" => (file::filebase64sha512, Whole, Deep),
        "fileexists" => (file::fileexists, Whole, Deep),
        "filemd5" => (file::filemd5, Whole, Deep),
        "fileset" => (file::fileset, Whole, Deep),
        "filesha1" => (file::filesha1, Whole, Deep),
        "filesha256" => (file::filesha256, Whole, Deep),
        "filesha512" => (file::filesha512, Whole, Deep),
        "flatten" => (collection::flatten, Nothing, Own),
        "floor" => (math::floor, Whole, Deep),
        "format" => (format::format, Nothing, Deep),
        "formatdate" => (date::formatdate, Whole, Deep),
        "formatlist" => (format::formatlist, Nothing, Deep),
        "indent" => (text::indent, Whole, Deep),
        "index" => (collection::index, Nothing, Deep),
        "issensitive" => (marks::issensitive, Nothing, Own),
        "join" => (text::join, Whole, Deep),
        "jsondecode" => (json::jsondecode, Whole, Deep),
        "jsonencode" => (json::jsonencode, Whole, Deep),
        "keys" => (collection::keys, Nothing, Outer),
        "length" => (collection::length, Nothing, Outer),
        "log" => (math::log, Whole, Deep),
        "lookup" => (collection::lookup, Nothing, Outer),
        "lower" => (text::lower, Whole, Deep),
        "matchkeys" => (collection::matchkeys, Whole, Deep),
        "max" => (math::max, Whole, Deep),
        "md5" => (encoding::md5, Whole, Deep),
        "merge" => (collection::merge, Nothing, Outer),
        "min" => (math::min, Whole, Deep),
        "nonsensitive" => (marks::nonsensitive, Nothing, Own),
        "one" => (collection::one, Nothing, Deep),
        "parseint" => (math::parseint, Whole, Deep),
        "pathexpand" => (file::pathexpand, Whole, Deep),
        "pow" => (math::pow, Whole, Deep),
        "range" => (math::range, Whole, Deep),
        "regex" => (pattern::regex, Whole, Deep),
        "regexall" => (pattern::regexall, Whole, Deep),
        "replace" => (text::replace, Whole, Deep),
        "reverse" => (collection::reverse, Top, Outer),
        "sensitive" => (marks::sensitive, Nothing, Own),
        "setintersection" => (sets::intersection, Whole, Deep),
        "setproduct" => (sets::product, Nothing, Outer),
        "setsubtract" => (sets::subtract, Whole, Deep),
        "setunion" => (sets::union, Whole, Deep),
        "sha1" => (encoding::sha1, Whole, Deep),
        "sha256" => (encoding::sha256, Whole, Deep),
        "sha512" => (encoding::sha512, Whole, Deep),
        "signum" => (math::signum, Whole, Deep),
        "slice" => (collection::slice, Top, Outer),
        "sort" => (collection::sort, Nothing, Deep),
        "split" => (text::split, Whole, Deep),
        "startswith" => (text::startswith, Nothing, Deep),
        "strcontains" => (text::strcontains, Whole, Deep),
        "strrev" => (text::strrev, Whole, Deep),
        "substr" => (text::substr, Whole, Deep),
        "sum" => (collection::sum, Whole, Deep),
        "textdecodebase64" => (encoding::textdecodebase64, Whole, Deep),
        "textencodebase64" => (encoding::textencodebase64, Whole, Deep),
        "timeadd" => (date::timeadd, Whole, Deep),
        "timecmp" => (date::timecmp, Whole, Deep),
        "title" => (text::title, Whole, Deep),
        "tobool" => (marks::tobool, Nothing, Own),
        "tolist" => (marks::tolist, Nothing, Own),
        "tomap" => (marks::tomap, Nothing, Own),
        "tonumber" => (marks::tonumber, Nothing, Own),
        "toset" => (marks::toset, Nothing, Own),
        "tostring" => (marks::tostring, Nothing, Own),
        "transpose" => (collection::transpose, Whole, Deep),
        "trim" => (text::trim, Whole, Deep),
        "trimprefix" => (text::trimprefix, Whole, Deep),
        "trimspace" => (text::trimspace, Whole, Deep),
        "trimsuffix" => (text::trimsuffix, Whole, Deep),
        "upper" => (text::upper, Whole, Deep),
        "urlencode" => (encoding::urlencode, Whole, Deep),
        "uuidv5" => (encoding::uuidv5, Whole, Deep),
        "values" => (collection::values, Top, Outer),
        "yamldecode" => (yaml::yamldecode, Whole, Deep),
        "yamlencode" => (yaml::yamlencode, Whole, Deep),
        "zipmap" => (collection::zipmap, Nothing, Outer),
        _ => return None,
    };
    Some(Function { run, needs, marking })
}
