import { readdirSync, readFileSync } from 'node:fs';
import { basename, join, posix } from 'node:path';
import ts from 'typescript';

/** The rules of the house that a reader can check in the sources alone, and that every change must keep. */

const root = join(__dirname, '..');

/** Who may import whom: only from the left. What stands together imports nothing of its neighbours. */
const layers = [
  ['migrations'],
  ['config'],
  ['common'],
  ['platform'],
  ['users'],
  ['limits'],
  ['api-keys', 'two-factor'],
  ['auth'],
  ['usage'],
  ['billing'],
  ['gateway', 'generate', 'account'],
  ['admin'],
  ['app'],
];

interface Source {
  /** Relative to the repository. */
  readonly path: string;
  readonly text: string;
  readonly ast: ts.SourceFile;
  readonly imports: readonly Import[];
}

interface Import {
  /** A path relative to the repository, or the name of a package. */
  readonly target: string;
  readonly node: ts.Node;
}

const files = ['src', 'migrations'].flatMap((folder) => filesUnder(folder)).map(readSource);
const src = files.filter(({ path }) => path.startsWith('src/'));
const production = src.filter(({ path }) => !path.endsWith('.spec.ts'));
const controllers = production.filter(({ path }) => path.endsWith('.controller.ts'));

function filesUnder(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => posix.join(folder, name.replaceAll('\\', '/')))
    .filter((path) => path.endsWith('.ts'))
    .sort();
}

function readSource(path: string): Source {
  const text = readFileSync(join(root, path), 'utf8');
  const ast = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  return { path, text, ast, imports: importsOf(path, ast) };
}

/** Every import and re-export, also of types alone, also in the middle of the code. */
function importsOf(path: string, ast: ts.SourceFile): Import[] {
  const found: Import[] = [];
  for (const node of nodes(ast)) {
    const specifier =
      ts.isImportDeclaration(node) || ts.isExportDeclaration(node)
        ? node.moduleSpecifier
        : ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
          ? node.arguments[0]
          : ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)
            ? node.argument.literal
            : undefined;
    if (specifier && ts.isStringLiteral(specifier))
      found.push({ target: resolve(path, specifier.text), node });
  }
  return found;
}

function resolve(path: string, specifier: string): string {
  if (!specifier.startsWith('.')) return specifier;
  const target = posix.join(posix.dirname(path), specifier);
  return target === 'migrations' ? 'migrations/index.ts' : `${target}.ts`;
}

function* nodes(from: ts.Node): Generator<ts.Node> {
  yield from;
  const children: ts.Node[] = [];
  from.forEachChild((child) => void children.push(child));
  for (const child of children) yield* nodes(child);
}

/** Where each node stands that fits, as `path:line`. */
function places(sources: readonly Source[], fits: (node: ts.Node) => boolean): string[] {
  return sources.flatMap((source) => [...nodes(source.ast)].filter(fits).map((node) => place(source, node)));
}

function place({ path, ast }: Source, node: ts.Node): string {
  return `${path}:${ast.getLineAndCharacterOfPosition(node.getStart(ast)).line + 1}`;
}

/** The names of a node's decorators. */
function decorators(node: ts.Node): string[] {
  const found = ts.canHaveDecorators(node) ? (ts.getDecorators(node) ?? []) : [];
  return found.map(({ expression }) =>
    (ts.isCallExpression(expression) ? expression.expression : expression).getText(),
  );
}

function hasModifier(node: ts.Node, kind: ts.SyntaxKind): boolean {
  return (
    ts.canHaveModifiers(node) && (ts.getModifiers(node) ?? []).some((modifier) => modifier.kind === kind)
  );
}

function layerOf(path: string): string {
  const [top = '', folder = ''] = path.split('/');
  return top !== 'src' ? top : folder.endsWith('.ts') ? 'app' : folder;
}

const rankOf = (layer: string): number => layers.findIndex((names) => names.includes(layer));

/** A program of its own: it exports nothing, so nothing can lean on it. */
function isCommand({ path, ast }: Source): boolean {
  return (
    path.startsWith('src/admin/') &&
    !ast.statements.some(
      (node) => ts.isExportDeclaration(node) || hasModifier(node, ts.SyntaxKind.ExportKeyword),
    )
  );
}

/** A circle in a graph, as the names on its way, or undefined. */
function findCycle(graph: ReadonlyMap<string, ReadonlySet<string>>): string[] | undefined {
  const done = new Set<string>();
  const visit = (name: string, trail: readonly string[]): string[] | undefined => {
    if (trail.includes(name)) return [...trail.slice(trail.indexOf(name)), name];
    if (done.has(name)) return undefined;
    for (const next of graph.get(name) ?? []) {
      const cycle = visit(next, [...trail, name]);
      if (cycle) return cycle;
    }
    done.add(name);
    return undefined;
  };
  for (const name of graph.keys()) {
    const cycle = visit(name, []);
    if (cycle) return cycle;
  }
  return undefined;
}

/** Which name imports which, the names taken from paths; names without an import of another are there too. */
function importGraph(sources: readonly Source[], nameOf: (path: string) => string): Map<string, Set<string>> {
  const graph = new Map(sources.map(({ path }) => [nameOf(path), new Set<string>()]));
  for (const { path, imports } of sources) {
    for (const { target } of imports)
      if (nameOf(target) !== nameOf(path)) graph.get(nameOf(path))?.add(nameOf(target));
  }
  return graph;
}

describe('imports', () => {
  it('lead to files that exist', () => {
    const known = new Set(files.map(({ path }) => path));
    const inside = files.flatMap(({ path, imports }) =>
      imports
        .filter(({ target }) => /^(src|migrations)\//.test(target))
        .map(({ target }) => ({ path, target })),
    );
    expect(inside.length).toBeGreaterThan(150);
    expect(inside.filter(({ target }) => !known.has(target))).toEqual([]);
  });

  it('go from right to left in the order of the modules, and never to a neighbour', () => {
    expect([...new Set(files.map(({ path }) => layerOf(path)))].filter((layer) => rankOf(layer) < 0)).toEqual(
      [],
    );
    let seen = 0;
    const wrong = files.flatMap((source) =>
      source.imports
        .filter(({ target }) => /^(src|migrations)\//.test(target))
        .filter(({ target }) => {
          const [from, to] = [layerOf(source.path), layerOf(target)];
          if (from === to) return false;
          seen += 1;
          // Commands on the schema are started by themselves, beside the application.
          if (target === 'src/data-source.ts' && isCommand(source)) return false;
          // A spec may stand on the support of the tests, and leans on nothing but what it tests.
          return rankOf(to) >= rankOf(from);
        })
        .map(({ target, node }) => `${place(source, node)} imports ${target}`),
    );
    expect(seen).toBeGreaterThan(80);
    expect(wrong).toEqual([]);
  });

  it('make no circle of files, types included', () => {
    const graph = importGraph(files, (path) => path);
    expect(graph.size).toBeGreaterThan(80);
    expect(findCycle(graph)).toBeUndefined();
  });

  it('make no circle of folders within the platform', () => {
    const graph = importGraph(
      src.filter(({ path }) => path.startsWith('src/platform/')),
      (path) => path.split('/').slice(0, 3).join('/'),
    );
    expect(graph.size).toBeGreaterThan(4);
    expect(findCycle(graph)).toBeUndefined();
  });
});

describe('the sources', () => {
  it('hold no forwardRef, no barrel and no default export', () => {
    expect(places(src, (node) => ts.isIdentifier(node) && node.text === 'forwardRef')).toEqual([]);
    expect(src.map(({ path }) => path).filter((path) => basename(path) === 'index.ts')).toEqual([]);
    const isReExport = (node: ts.Node): boolean =>
      ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined;
    const isDefault = (node: ts.Node): boolean =>
      ts.isExportAssignment(node) || hasModifier(node, ts.SyntaxKind.DefaultKeyword);
    expect(places(src, (node) => isReExport(node) || isDefault(node))).toEqual([]);
  });

  it('hold no any, and take the time, the environment and the schema from their one place', () => {
    const apart = (path: string): Source[] => production.filter((source) => source.path !== path);
    const textOf = (node: ts.Node): string => (ts.isPropertyAccessExpression(node) ? node.getText() : '');
    const isNow = (node: ts.Node): boolean =>
      (ts.isNewExpression(node) && node.expression.getText() === 'Date' && !node.arguments?.length) ||
      (ts.isCallExpression(node) && node.expression.getText() === 'Date') ||
      textOf(node) === 'Date.now';
    const isSynchronize = (node: ts.Node): boolean =>
      ts.isPropertyAssignment(node) && /^['"]?synchronize/.test(node.name.getText());

    expect(places(src, (node) => node.kind === ts.SyntaxKind.AnyKeyword)).toEqual([]);
    expect(places(production, isNow)).toEqual([expect.stringMatching(/^src\/common\/clock\.ts:/)]);
    expect(places(apart('src/config/env.ts'), (node) => textOf(node) === 'process.env')).toEqual([]);
    expect(places(production, (node) => textOf(node) === 'process.env').length).toBeGreaterThan(0);
    expect(places(files, isSynchronize).length).toBeGreaterThan(0);
    const turnsOn = (node: ts.Node): boolean => isSynchronize(node) && !/:\s*false$/.test(node.getText());
    expect(places(files, turnsOn)).toEqual([]);
  });

  it('leave nothing for later and stay short enough to be read', () => {
    const later = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'].join('|')})\\b`);
    expect(files.filter(({ text }) => later.test(text)).map(({ path }) => path)).toEqual([]);

    const lines = ({ text }: Source): number => text.trimEnd().split('\n').length;
    expect(production.length).toBeGreaterThan(70);
    expect(
      production.filter((source) => lines(source) > 250).map((source) => `${source.path}: ${lines(source)}`),
    ).toEqual([]);
    const pipeline = production.find(({ path }) => path === 'src/request-pipeline.ts');
    expect(pipeline && lines(pipeline)).toBeLessThan(40);
  });
});

describe('controllers', () => {
  const verbs = new Set(['Get', 'Post', 'Put', 'Patch', 'Delete', 'Head', 'Options', 'All', 'Search', 'Sse']);
  const handlers = production.flatMap((source) =>
    [...nodes(source.ast)]
      .filter((node) => ts.isMethodDeclaration(node))
      .filter((method) => decorators(method).some((name) => verbs.has(name)))
      .map((method) => ({
        place: place(source, method),
        inController: source.path.endsWith('.controller.ts'),
        own: decorators(method),
        all: [...decorators(method), ...decorators(method.parent)],
      })),
  );
  const accessDecorators = production
    .filter(({ path }) => path === 'src/common/access.ts')
    .flatMap(({ ast }) => [...nodes(ast)])
    .flatMap((node) =>
      ts.isVariableDeclaration(node) && /^[A-Z][a-z]/.test(node.name.getText()) ? [node.name.getText()] : [],
    );

  it('stand in controller files, and each of their handlers says who may call it', () => {
    expect(handlers.length).toBeGreaterThan(10);
    expect(handlers.filter(({ inController }) => !inController)).toEqual([]);
    expect(accessDecorators).toEqual(expect.arrayContaining(['Public', 'UserAccess', 'ApiKeyAccess']));
    expect(handlers.filter(({ all }) => !all.some((name) => accessDecorators.includes(name)))).toEqual([]);
  });

  it('document what each handler does and answers', () => {
    const documented = handlers.filter(
      ({ all }) => !all.includes('ApiExcludeController') && !all.includes('ApiExcludeEndpoint'),
    );
    expect(documented.length).toBeGreaterThan(10);
    const says = (own: readonly string[]): boolean =>
      own.includes('ApiOperation') && own.some((name) => /^Api(Ok|Accepted|NoContent)Response$/.test(name));
    expect(documented.filter(({ own }) => !says(own))).toEqual([]);
  });

  it('set the status of every POST, which would be 201 else', () => {
    const posts = handlers.filter(({ own }) => own.includes('Post'));
    expect(posts.length).toBeGreaterThan(3);
    expect(posts.filter(({ own }) => !own.includes('HttpCode'))).toEqual([]);
  });

  it('take their input as DTO classes that exist at run time, without which nothing is validated', () => {
    const isInput = (node: ts.Node): node is ts.ParameterDeclaration =>
      ts.isParameter(node) && decorators(node).some((name) => /^(Body|Query|Param|Headers)$/.test(name));
    let seen = 0;
    const wrong = controllers.flatMap((source) => {
      const classes = new Set<string>();
      for (const node of nodes(source.ast)) {
        if (ts.isClassDeclaration(node) && node.name) classes.add(node.name.text);
        const isValue = ts.isImportSpecifier(node) && !node.isTypeOnly && !node.parent.parent.isTypeOnly;
        if (isValue) classes.add(node.name.text);
      }
      const inputs = [...nodes(source.ast)].filter(isInput);
      seen += inputs.length;
      return inputs
        .filter(({ type }) => !type || !ts.isTypeReferenceNode(type) || !classes.has(type.typeName.getText()))
        .map((input) => `${place(source, input)} ${input.type?.getText() ?? 'without a type'}`);
    });
    expect(seen).toBeGreaterThan(6);
    expect(wrong).toEqual([]);

    const imported = controllers.flatMap((source) =>
      source.imports.filter(({ target }) => target.endsWith('.dto.ts')).map(({ node }) => node),
    );
    expect(imported.length).toBeGreaterThan(5);
    expect(imported.filter((node) => /\btype\b/.test(node.getText())).map((node) => node.getText())).toEqual(
      [],
    );
  });
});

describe('the schema', () => {
  /** The names in the one array literal of a file that is exported under `name`. */
  function listed(path: string, name: string): string[] {
    const source = files.find((file) => file.path === path);
    const list =
      source &&
      [...nodes(source.ast)].find((node) => ts.isVariableDeclaration(node) && node.name.getText() === name);
    const array = list && [...nodes(list)].find((node) => ts.isArrayLiteralExpression(node));
    return array?.elements.map((element) => element.getText()) ?? [];
  }
  const classesOf = (source: Source): ts.ClassDeclaration[] =>
    source.ast.statements.filter((node) => ts.isClassDeclaration(node));

  it('lists every entity in the data source of the commands', () => {
    const entities = production.flatMap((source) =>
      classesOf(source).filter((node) => decorators(node).includes('Entity')),
    );
    const names = entities.map(({ name }) => name?.text ?? '');
    expect(names.length).toBeGreaterThan(4);
    expect(names.filter((_name, i) => !entities[i]?.getSourceFile().fileName.endsWith('.entity.ts'))).toEqual(
      [],
    );
    expect(listed('src/data-source.ts', 'entities').sort()).toEqual(names.sort());
  });

  it('lists every migration, oldest first, and each knows its way up and down', () => {
    const migrations = files.filter(
      ({ path }) => path.startsWith('migrations/') && path !== 'migrations/index.ts',
    );
    expect(migrations.length).toBeGreaterThan(0);
    expect(
      migrations.map(({ path }) => path).filter((path) => !/^migrations\/\d{13}-[a-z0-9-]+\.ts$/.test(path)),
    ).toEqual([]);
    const names = migrations.map((source) =>
      classesOf(source)
        .map(({ name }) => name?.text)
        .join(),
    );
    expect(listed('migrations/index.ts', 'migrations')).toEqual(names);

    const methods = (source: Source): string[] =>
      [...nodes(source.ast)]
        .filter((node) => ts.isMethodDeclaration(node) && node.body?.statements.length)
        .map((node) => (node as ts.MethodDeclaration).name.getText());
    expect(
      migrations
        .filter((source) => !['up', 'down'].every((name) => methods(source).includes(name)))
        .map(({ path }) => path),
    ).toEqual([]);
  });
});
