//! One run: paths to modules, modules to findings, findings to a report.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ast::Span;
use crate::baseline::{Baseline, Entry};
use crate::config::{Budget, Config, FailOn, matches};
use crate::eval::budget::Limits;
use crate::eval::definition::{Definitions, Kind, Source};
use crate::eval::disk::Disk;
use crate::eval::expand::BodyView;
use crate::eval::expr::Failure;
use crate::eval::functions::{Files, NoFiles};
use crate::eval::graph::{Graph, Instance, Module, Program, with_stack};
use crate::finding::{Finding, Place, Severity, Undetermined};
use crate::module::tfvars::{self, Given, Inputs};
use crate::module::{Flavor, Known, Overlay, Tree, folders_below, has_configuration, read_bounded};
use crate::parallel;
use crate::plan::{self, Plan};
use crate::policy::{self, Enforcement, Policy};
use crate::rules::module::ModuleParts;
use crate::rules::{ModuleView, Output, RULES, Sink};
use crate::suppress;
use crate::view::{Resource, SampanSchemas};

/// Instances that are looked at; more are as good as any number, and the summary says so.
const MAX_RESOURCES: usize = 100_000;
/// Instances that a thread looks at before it asks for more.
const AT_ONCE: usize = 64;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Settings {
    pub paths: Vec<PathBuf>,
    /// A plan in JSON instead of paths; `-` is stdin.
    pub plan: Option<PathBuf>,
    pub recursive: bool,
    pub flavor: Flavor,
    pub given: Vec<Given>,
    /// `TF_VAR_*` are read from here; `TF_WORKSPACE` too.
    pub environment: BTreeMap<String, String>,
    /// Only these rules; empty means all.
    pub select: BTreeSet<String>,
    pub ignore: BTreeSet<String>,
    /// `None` is silent.
    pub severities: BTreeMap<String, Option<Severity>>,
    pub per_path: Vec<(String, Vec<String>)>,
    pub production: Vec<String>,
    pub required_labels: Vec<String>,
    /// Empty means all.
    pub registries: Vec<String>,
    pub budget: Budget,
    pub fail_on: FailOn,
    /// Only what is about these files is reported; absolute paths.
    pub changed: Option<BTreeSet<PathBuf>>,
    /// Threads; 0 and 1 are the caller's alone.
    pub jobs: usize,
    pub progress: Progress,
    /// A module that is not at hand makes the input incomplete.
    pub strict_modules: bool,
    /// As `2027-03-31`.
    pub today: String,
    pub baseline: Option<Baseline>,
    pub policies: Arc<[Policy]>,
    /// Texts that count instead of files.
    pub overlay: Overlay,
    /// Files that need not be parsed again as long as their text is the same.
    pub known: Arc<Known>,
    /// Patterns of `per_path` are relative to it, where a file is below it.
    pub base: Option<PathBuf>,
}

impl Settings {
    pub fn new(paths: Vec<PathBuf>, today: String) -> Self {
        Self {
            paths,
            plan: None,
            recursive: false,
            flavor: Flavor::default(),
            given: Vec::new(),
            environment: BTreeMap::new(),
            select: BTreeSet::new(),
            ignore: BTreeSet::new(),
            severities: BTreeMap::new(),
            per_path: Vec::new(),
            production: ["prod", "production", "prod-*", "*-prod", "production-*", "*-production"]
                .map(str::to_owned)
                .into(),
            required_labels: Vec::new(),
            registries: Vec::new(),
            budget: Budget::default(),
            fail_on: FailOn::default(),
            changed: None,
            jobs: 1,
            progress: Progress::default(),
            strict_modules: false,
            today,
            baseline: None,
            policies: Arc::default(),
            overlay: Overlay::default(),
            known: Arc::default(),
            base: None,
        }
    }
    /// Takes over what a file of settings says.
    ///
    /// # Errors
    /// A sentence that names the baseline, when that cannot be read.
    pub fn configure(&mut self, config: Config) -> Result<(), String> {
        self.given.extend(config.var_files.into_iter().map(Given::File));
        self.fail_on = config.fail_on.unwrap_or_default();
        self.severities = config.severities;
        self.per_path = config.per_path;
        self.required_labels = config.required_labels;
        self.registries = config.registries;
        self.budget = config.budget;
        if let Some(production) = config.production {
            self.production = production;
        }
        self.policies = policy::read(&config.policies)?;
        if let Some(path) = config.baseline {
            let text = read_bounded(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            self.baseline = Some(Baseline::read(&text).map_err(|e| format!("{}: {e}", path.display()))?);
        }
        Ok(())
    }
    pub fn is_production(&self, namespace: &str) -> bool {
        self.production.iter().any(|pattern| matches(pattern, namespace))
    }
}

/// Is told how far a run is; nobody by default.
#[derive(Clone, Default)]
pub struct Progress(pub Option<Arc<dyn Fn(Stage) + Send + Sync>>);

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Progress({})", self.0.is_some())
    }
}

impl Progress {
    fn say(&self, stage: Stage) {
        if let Some(told) = &self.0 {
            told(stage);
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// So many files are read.
    Read(usize),
    /// So many of the root modules are done.
    Judged { done: usize, of: usize },
}

/// What came out.
#[derive(Debug, Default)]
pub struct Report {
    /// For the text around a finding.
    pub tree: Tree,
    /// In order of file, place and rule.
    pub findings: Vec<Finding>,
    pub undetermined: Vec<Undetermined>,
    pub resources: usize,
    /// It is about a plan.
    pub plan: bool,
    pub suppressed: usize,
    pub baselined: usize,
    /// Entries of the baseline that are not there any more.
    pub stale: Vec<Entry>,
    /// What the baseline would be.
    pub as_baseline: Baseline,
    /// Input that could not be analysed: exit status 2.
    pub broken: bool,
    pub failed: bool,
}

impl Report {
    /// 0 fine, 1 findings, 2 input that could not be analysed.
    pub fn exit_code(&self) -> u8 {
        match (self.broken, self.failed) {
            (true, _) => 2,
            (_, true) => 1,
            _ => 0,
        }
    }
    /// Files that were read.
    pub fn files(&self) -> usize {
        self.tree.files.len() + usize::from(self.plan)
    }
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|f| f.severity == severity).count()
    }
    /// Name of the file, line and column of a finding; line and column are 1 where nothing was read.
    pub fn position(&self, finding: &Finding) -> (String, u32, u32) {
        match finding.place {
            Some(place) => self.locate(place),
            None => (finding.file.clone(), 1, 1),
        }
    }
    /// Name of the file, line and column of a place.
    pub fn locate(&self, place: Place) -> (String, u32, u32) {
        match self.tree.files.get(place.file as usize) {
            Some(file) => {
                let at = file.lines.position(&file.text, place.span.start);
                (file.name.clone(), at.line, at.column)
            }
            None => (String::new(), 1, 1),
        }
    }
}

/// Runs on a thread with a stack that deep configurations need.
///
/// # Errors
/// Wrong usage: a path that is not there, a variable that nobody declared.
pub fn lint(settings: &Settings) -> Result<Report, String> {
    with_stack(|| run(settings)).map_err(|error| format!("no thread could be started: {error}"))?
}

fn run(settings: &Settings) -> Result<Report, String> {
    let mut report = Report::default();
    if let Some(path) = &settings.plan {
        planned(settings, path, &mut report)?;
        return Ok(report);
    }
    report.tree = read_nothing(settings);
    let mut roots = Vec::new();
    for folder in roots_of(settings, &mut report)? {
        let said = report.tree.findings.len();
        match report.tree.load(&folder, settings.flavor) {
            Ok(root) => {
                roots.push(root);
                settings.progress.say(Stage::Read(report.tree.files.len()));
            }
            Err(error) => {
                report.tree.findings.truncate(said);
                let name = folder.display().to_string();
                let message = format!("the folder cannot be read: {error}");
                report.tree.findings.push(Finding::without_place("SMP908", Severity::Error, name, message));
            }
        }
    }
    // A module that another one calls is looked at as it is called.
    let called: BTreeSet<usize> = report.tree.folders.iter().flat_map(|f| f.calls.values().copied()).collect();
    let mut seen = BTreeSet::new();
    roots.retain(|root| !called.contains(root) && seen.insert(*root));
    let mut inputs = Vec::with_capacity(roots.len());
    for root in roots {
        inputs.push((root, inputs_of(settings, &mut report.tree, root)?));
    }
    let (tree, done, of) = (&report.tree, AtomicUsize::new(0), inputs.len());
    // Threads are for several modules, or for the resources of the only one.
    let jobs = if of > 1 { 1 } else { settings.jobs };
    let all = parallel::map(&inputs, settings.jobs, |(root, inputs)| {
        let found = analyse(settings, tree, *root, inputs.clone(), jobs);
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        settings.progress.say(Stage::Judged { done, of });
        found
    });
    let mut found = Found::default();
    for one in all {
        found.findings.extend(one.findings);
        found.undetermined.extend(one.undetermined);
        found.homes.extend(one.homes);
        found.resources += one.resources;
    }
    finish(settings, &mut report, found);
    Ok(report)
}

fn read_nothing(settings: &Settings) -> Tree {
    Tree::new(settings.overlay.clone(), settings.known.clone(), settings.jobs)
}

/// Reads the module in `folder` and all that it calls, without a word about them; the tree, and the index of the folder.
///
/// # Errors
/// When the folder itself cannot be read.
pub fn load(settings: &Settings, folder: &Path) -> std::io::Result<(Tree, usize)> {
    let mut tree = read_nothing(settings);
    let root = tree.load(folder, settings.flavor)?;
    Ok((tree, root))
}

/// Hands the evaluator of the module at `root` to `f`. Needs the stack of [`with_stack`].
///
/// # Errors
/// Wrong usage: a file of values that cannot be read.
pub fn explore<R>(
    settings: &Settings,
    tree: &mut Tree,
    root: usize,
    f: impl for<'t> FnOnce(&'t Tree, &Graph<'t>) -> R,
) -> Result<R, String> {
    let inputs = inputs_of(settings, tree, root)?;
    let (order, parts, _) = parts_of(tree, root);
    Ok(with_graph(settings, tree, &order, &parts, inputs, f))
}

/// A plan instead of a configuration. What is no plan is an input that could not be analysed.
fn planned(settings: &Settings, path: &Path, report: &mut Report) -> Result<(), String> {
    let is_stdin = path == Path::new("-");
    if !is_stdin {
        std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    report.plan = true;
    let name = if is_stdin { "stdin".to_owned() } else { path.to_string_lossy().replace('\\', "/") };
    let mut found = Found::default();
    let unusable = |why: String| Finding::without_place("SMP908", Severity::Error, name.clone(), why);
    match plan::read_file(path).and_then(|text| plan::read(&text, &name)) {
        Ok(plan) => {
            found.findings.extend(plan.incomplete.clone().map(unusable));
            of_plan(settings, plan, &name, &mut found);
        }
        Err(why) => found.findings.push(unusable(why)),
    }
    finish(settings, report, found);
    Ok(())
}

fn of_plan(settings: &Settings, plan: Plan, name: &str, found: &mut Found) {
    let mut sink = Sink::new(settings);
    for (address, ty) in plan.unknown_types {
        let message = format!("{ty} is no resource that this version knows: use a newer sampan");
        let finding = Finding::without_place("SMP911", Severity::Error, name.to_owned(), message);
        sink.push(Finding { address, ..finding });
    }
    for resource in &plan.resources {
        one_resource(resource, &mut sink);
    }
    for resource in plan.resources.iter().chain(&plan.leaving) {
        for (rule, planned) in RULES.iter().filter_map(|rule| Some((rule, resource.planned.as_ref()?))) {
            rule.change(resource, planned, &mut sink);
        }
    }
    for rule in RULES {
        rule.all(&plan.resources, &mut sink);
    }
    found.resources += plan.resources.len();
    found.findings.extend(sink.findings);
    found.undetermined.extend(sink.undetermined);
}

/// The folders that the paths mean.
fn roots_of(settings: &Settings, report: &mut Report) -> Result<Vec<PathBuf>, String> {
    let mut folders = Vec::new();
    for path in &settings.paths {
        let meta = std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?;
        if meta.is_file() {
            // A file always means its module: alone it lacks its variables.
            folders.push(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned());
            continue;
        }
        if !settings.recursive && has_configuration(path, settings.flavor, &settings.overlay) {
            folders.push(path.clone());
            continue;
        }
        match folders_below(path, settings.flavor) {
            Ok(all) => folders.extend(all),
            Err(error) => {
                let name = path.display().to_string();
                let message = format!("the folder cannot be read: {error}");
                report.tree.findings.push(Finding::without_place("SMP908", Severity::Error, name, message));
            }
        }
    }
    Ok(folders)
}

#[derive(Default)]
struct Found {
    findings: Vec<Finding>,
    undetermined: BTreeSet<Undetermined>,
    /// File of each resource by its address.
    homes: BTreeMap<String, u32>,
    resources: usize,
}

/// The files of a folder of the tree, and what they define.
pub(crate) fn definitions(tree: &Tree, folder: usize) -> (Vec<Source<'_>>, Definitions<'_>) {
    let files = tree.folders[folder].files.iter();
    let sources: Vec<Source<'_>> = files
        .map(|index| {
            let file = &tree.files[*index as usize];
            Source { file: *index, ast: &file.ast, overrides: file.overrides }
        })
        .collect();
    let definitions = Definitions::collect(&sources);
    (sources, definitions)
}

fn inputs_of(settings: &Settings, tree: &mut Tree, root: usize) -> Result<Inputs, String> {
    let text_variables = tfvars::text_variables(&definitions(tree, root).1);
    let folder = tree.folders[root].path.clone();
    tfvars::collect(tree, &folder, &settings.environment, &settings.given, &text_variables)
}

/// Folders of a configuration, the root first.
fn reachable(tree: &Tree, root: usize) -> Vec<usize> {
    let (mut order, mut at) = (vec![root], 0);
    while let Some(folder) = order.get(at).copied() {
        for child in tree.folders[folder].calls.values() {
            if !order.contains(child) {
                order.push(*child);
            }
        }
        at += 1;
    }
    order
}

/// Folders of a configuration, the root first, with what each defines and the files it is in.
type Parts<'a> = (Vec<usize>, Vec<ModuleParts<'a>>, Vec<Vec<Source<'a>>>);

fn parts_of(tree: &Tree, root: usize) -> Parts<'_> {
    let order = reachable(tree, root);
    let number: HashMap<usize, usize> = order.iter().enumerate().map(|(i, folder)| (*folder, i)).collect();
    let (mut parts, mut sources) = (Vec::new(), Vec::new());
    for folder in &order {
        let (files, definitions) = definitions(tree, *folder);
        let folder = &tree.folders[*folder];
        let calls = folder.calls.iter().map(|(name, child)| (name.clone(), number[child])).collect();
        parts.push(ModuleParts { definitions, incomplete: folder.incomplete, calls });
        sources.push(files);
    }
    (order, parts, sources)
}

fn analyse(settings: &Settings, tree: &Tree, root: usize, inputs: Inputs, jobs: usize) -> Found {
    let (order, parts, sources) = parts_of(tree, root);
    let mut sink = Sink::new(settings);
    for (index, sources) in sources.iter().enumerate() {
        let module = &parts[index];
        let view = ModuleView {
            sources: sources.clone(),
            definitions: &module.definitions,
            incomplete: module.incomplete,
            all: &parts,
            index,
        };
        for rule in RULES {
            rule.module(&view, &mut sink);
        }
    }
    with_graph(settings, tree, &order, &parts, inputs, |tree, graph| judge(tree, &order, graph, sink, jobs))
}

fn with_graph<R>(
    settings: &Settings,
    tree: &Tree,
    order: &[usize],
    parts: &[ModuleParts<'_>],
    inputs: Inputs,
    f: impl for<'t> FnOnce(&'t Tree, &Graph<'t>) -> R,
) -> R {
    let base = order.first().map_or(Path::new("."), |root| &tree.folders[*root].path);
    let disk = Disk::new(base, base, crate::module::MAX_BYTES).ok();
    let files: &dyn Files = disk.as_ref().map_or(&NoFiles, |disk| disk);
    let shown = |folder: &usize| relative(base, &tree.folders[*folder].path);
    let mut modules = Vec::new();
    for (part, folder) in parts.iter().zip(order) {
        let folder = shown(folder).into();
        modules.push(Module { folder, definitions: part.definitions.clone(), calls: part.calls.clone() });
    }
    let program = Program {
        modules,
        inputs,
        workspace: settings.environment.get("TF_WORKSPACE").map(|w| Arc::from(w.as_str())),
        files,
        schemas: &SampanSchemas,
        short_circuit: false,
        limits: Limits::default(),
    };
    f(tree, &Graph::new(&program))
}

/// Everything that takes values.
fn judge(tree: &Tree, order: &[usize], graph: &Graph<'_>, mut sink: Sink<'_>, jobs: usize) -> Found {
    let mut found = Found::default();
    graph.run();
    outputs(graph, &mut sink);
    let mut all = Collected::default();
    collect(graph, &graph.root(), "", &mut all);
    let Collected { resources, dead, failures, .. } = all;
    found.resources += resources.len();
    for resource in &resources {
        found.homes.extend(resource.header.map(|place| (resource.address.clone(), place.file)));
    }
    let settings = sink.settings;
    let several: Vec<&[Resource]> = resources.chunks(AT_ONCE).collect();
    for one in parallel::map(&several, jobs, |resources| of_resources(settings, resources)) {
        sink.findings.extend(one.findings);
        sink.undetermined.extend(one.undetermined);
    }
    for resource in &dead {
        sink.findings.extend(resource.check().0);
    }
    for rule in RULES {
        rule.all(&resources, &mut sink);
    }
    let incomplete: BTreeSet<u32> = order
        .iter()
        .filter(|folder| tree.folders[**folder].incomplete)
        .flat_map(|folder| tree.folders[*folder].files.iter().copied())
        .collect();
    let failures: BTreeMap<_, _> =
        graph.failures().into_iter().chain(failures).map(|f| ((f.site, f.message.clone()), f)).collect();
    for failure in failures.into_values() {
        // What was not read may be what is missed here.
        if !incomplete.contains(&failure.site.file) {
            let span = Span::new(failure.site.start, failure.site.end);
            let place = Place { file: failure.site.file, span };
            sink.push(Finding::new("SMP901", Severity::Error, place, failure.message));
        }
    }
    found.findings.extend(sink.findings);
    found.undetermined.extend(sink.undetermined);
    found
}

fn outputs(graph: &Graph<'_>, sink: &mut Sink<'_>) {
    let root = graph.root();
    for (name, definition) in &graph.definitions(&root).outputs {
        let Some((source, attribute)) = definition.attribute("value") else { continue };
        // An error is reported where it arose.
        let Ok(value) = graph.output(&root, name) else { continue };
        let is_false = |(source, a): (Source<'_>, &crate::ast::Attribute)| {
            matches!(source.ast.expr(a.value), crate::ast::Expr::Literal(crate::ast::Literal::Bool(false)))
        };
        let sensitive = definition.attribute("sensitive").is_some_and(|found| !is_false(found));
        let place = Place { file: source.file, span: source.ast.span(attribute.value) };
        let output = Output { name: name.to_string(), place, value, sensitive };
        for rule in RULES {
            rule.output(&output, sink);
        }
    }
}

/// `path.module` of a folder.
fn relative(base: &Path, folder: &Path) -> String {
    let text = match folder.strip_prefix(base) {
        Ok(below) => below.to_string_lossy().into_owned(),
        Err(_) => folder.to_string_lossy().into_owned(),
    };
    if text.is_empty() { ".".into() } else { text }
}

fn of_resources<'s>(settings: &'s Settings, resources: &[Resource]) -> Sink<'s> {
    let mut sink = Sink::new(settings);
    for resource in resources {
        one_resource(resource, &mut sink);
    }
    sink
}

fn one_resource(resource: &Resource, sink: &mut Sink<'_>) {
    let (findings, cause) = resource.check();
    sink.findings.extend(findings);
    if let Some(cause) = cause {
        sink.undetermined.insert(Undetermined {
            rule: "schema",
            address: resource.address.clone(),
            path: String::new(),
            needs: cause.needs,
        });
    }
    for rule in RULES {
        rule.resource(resource, sink);
    }
    policy::judge(resource, sink);
}

/// What the resources of a configuration are.
#[derive(Default)]
struct Collected {
    resources: Vec<Resource>,
    /// Of those that have no instance: what could be wrong as soon as they have one.
    dead: Vec<Resource>,
    failures: Vec<Failure>,
    /// Modules with their arguments of which the errors are known.
    seen: HashSet<*const Instance>,
}

/// Every instance of every resource of Sampan, below all calls. Those of other providers are evaluated for their
/// references.
fn collect(graph: &Graph<'_>, instance: &Rc<Instance>, prefix: &str, out: &mut Collected) {
    let first = out.seen.insert(Rc::as_ptr(instance));
    let definitions = graph.definitions(instance);
    for (id, definition) in &definitions.resources {
        let ours = id.0 == Kind::Managed && id.1.starts_with("sampan_");
        if out.resources.len() >= MAX_RESOURCES || !first && !ours {
            continue;
        }
        let views = graph.resource_views(instance, id);
        if views.is_empty() && ours {
            let view = graph.resource_as_if(instance, id);
            out.dead.extend(view.and_then(|view| Resource::new(prefix, view, definition)));
        }
        for view in views {
            failures_in(&view.body, &mut out.failures);
            out.resources.extend(Resource::new(prefix, view, definition));
        }
    }
    for call in graph.calls(instance) {
        if let Some(child) = &call.instance {
            collect(graph, child, &format!("{prefix}module.{}{}.", call.name, call.each.key), out);
        }
    }
}

fn failures_in(body: &BodyView, out: &mut Vec<Failure>) {
    out.extend(body.attributes.iter().filter_map(|a| a.value.as_ref().err().cloned()));
    for block in &body.blocks {
        failures_in(&block.body, out);
    }
}

fn finish(settings: &Settings, report: &mut Report, found: Found) {
    let mut findings = std::mem::take(&mut report.tree.findings);
    for (place, message) in std::mem::take(&mut report.tree.missing) {
        report.broken |= settings.strict_modules;
        findings.push(Finding::new("SMP908", Severity::Note, place, message));
    }
    findings.extend(found.findings);
    report.broken |= findings.iter().any(|f| matches!(f.rule, "SMP900" | "SMP908") && f.severity == Severity::Error);
    let certain = !report.broken && found.undetermined.is_empty() && !findings.iter().any(|f| f.rule == "SMP908");
    report.suppressed =
        suppress::apply(&report.tree.files, &mut findings, &settings.policies, &settings.today, certain);
    for finding in &mut findings {
        // Bytes of JSON are other ones than those of the expression.
        let file = finding.place.and_then(|place| report.tree.files.get(place.file as usize));
        if file.is_some_and(|file| file.is_json()) {
            finding.fix = None;
        }
    }
    findings.retain_mut(|f| keep(settings, &report.tree, f));
    let mut findings = joined(findings);
    report.as_baseline = Baseline::of(&findings);
    if let Some(baseline) = &settings.baseline {
        (report.baselined, report.stale) = baseline.clone().apply(&mut findings);
    }
    let mut undetermined: Vec<Undetermined> = found.undetermined.into_iter().collect();
    if let Some(changed) = &settings.changed {
        let changed = changed_files(&report.tree, changed);
        let is_near = |place: Place| changed.contains(&place.file);
        // What keeps the input from being analysed is always said.
        let is_broken = |f: &Finding| matches!(f.rule, "SMP900" | "SMP908") && f.severity == Severity::Error;
        findings.retain(|f| {
            let related = f.related.as_ref().map(|(place, _)| *place);
            is_broken(f) || f.place.into_iter().chain(related).any(is_near)
        });
        undetermined.retain(|u| found.homes.get(&u.address).is_some_and(|file| changed.contains(file)));
    }
    let counts = |f: &Finding| !policy::is(&settings.policies, f.rule, Enforcement::Advisory);
    report.failed = findings.iter().any(|f| settings.fail_on.fails(f.severity) && counts(f));
    report.findings = findings;
    report.undetermined = undetermined;
    report.resources = found.resources;
}

/// Which files of the tree are among these paths.
fn changed_files(tree: &Tree, changed: &BTreeSet<PathBuf>) -> BTreeSet<u32> {
    let is_changed = |name: &str| Path::new(name).canonicalize().is_ok_and(|path| changed.contains(&path));
    (0_u32..).zip(&tree.files).filter(|(_, file)| is_changed(&file.name)).map(|(index, _)| index).collect()
}

/// Whether the settings want to hear of it, and how loud.
fn keep(settings: &Settings, tree: &Tree, finding: &mut Finding) -> bool {
    let rule = finding.rule;
    if !settings.select.is_empty() && !settings.select.contains(rule) || settings.ignore.contains(rule) {
        return false;
    }
    let file = finding.place.and_then(|p| tree.files.get(p.file as usize)).map_or(&finding.file, |f| &f.name);
    let below =
        |base: &PathBuf| Path::new(file).strip_prefix(base).ok().map(|rest| rest.to_string_lossy().into_owned());
    let file = &settings.base.as_ref().and_then(below).unwrap_or_else(|| file.clone());
    if settings.per_path.iter().any(|(pattern, ids)| ids.iter().any(|id| id == rule) && matches(pattern, file)) {
        return false;
    }
    match settings.severities.get(rule) {
        Some(None) => false,
        Some(Some(severity)) => {
            finding.severity = *severity;
            true
        }
        None => true,
    }
}

/// In order, and instances with one cause as one finding.
fn joined(mut findings: Vec<Finding>) -> Vec<Finding> {
    // Without a place it is the resource that findings have in common.
    let home = |f: &Finding| if f.place.is_none() { f.address_without_keys() } else { String::new() };
    let key = |f: &Finding| (f.place, f.file.clone(), home(f), f.rule, f.path.clone(), f.message.clone());
    findings.sort_by_cached_key(|f| (key(f), f.address.clone()));
    let mut out: Vec<Finding> = Vec::with_capacity(findings.len());
    for finding in findings {
        match out.last_mut() {
            Some(last) if key(last) == key(&finding) => {
                last.severity = last.severity.max(finding.severity);
                if last.address != finding.address && last.others.last() != Some(&finding.address) {
                    last.others.push(finding.address);
                }
            }
            _ => out.push(finding),
        }
    }
    out
}
