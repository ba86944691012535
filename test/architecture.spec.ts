import { readdirSync, readFileSync } from 'node:fs';
import { basename, join, posix } from 'node:path';
import ts from 'typescript';

/** The rules of the house that can be seen in the sources alone, and that every change must keep. */

const root = join(__dirname, '..');

/** Who may import whom: only from further up. What stands in one line imports nothing of its neighbours. */
const layers = [
  'migrations',
  'config',
  'common',
  'platform',
  'users',
  'limits',
  'api-keys two-factor',
  'auth',
  'usage',
  'billing',
  'gateway generate account',
  'admin',
  'app',
].map((line) => line.split(' '));

interface Source {
  /** Relative to the repository. */
  readonly path: string;
  readonly text: string;
  readonly nodes: readonly ts.Node[];
  /** What is imported, types included: paths relative to the repository, and names of packages. */
  readonly imports: readonly string[];
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
  const nodes: ts.Node[] = [];
  const visit = (node: ts.Node): void => {
    nodes.push(node);
    node.forEachChild(visit);
  };
  visit(ast);
  const imports = ts.preProcessFile(text).importedFiles.map(({ fileName }) => resolve(path, fileName));
  return { path, text, nodes, imports };
}

function resolve(path: string, specifier: string): string {
  if (!specifier.startsWith('.')) return specifier;
  const target = posix.join(posix.dirname(path), specifier);
  return target === 'migrations' ? 'migrations/index.ts' : `${target}.ts`;
}

/** Where the nodes stand that fit, as `path:line`. */
function places(sources: readonly Source[], fits: (node: ts.Node) => boolean): string[] {
  return sources.flatMap(({ nodes }) => nodes.filter(fits).map(place));
}

function place(node: ts.Node): string {
  const file = node.getSourceFile();
  return `${file.fileName}:${file.getLineAndCharacterOfPosition(node.getStart()).line + 1}`;
}

/** The names of a node's decorators. */
function decorators(node: ts.Node): string[] {
  const found = ts.canHaveDecorators(node) ? (ts.getDecorators(node) ?? []) : [];
  return found.map(({ expression }) => /^[\w.]+/.exec(expression.getText())?.[0] ?? '');
}

function isExported(node: ts.Node): boolean {
  const modifiers = ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : [];
  return ts.isExportDeclaration(node) || modifiers.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
}

function layerOf(path: string): string {
  const [top = '', folder = ''] = path.split('/');
  return top !== 'src' ? top : folder.endsWith('.ts') ? 'app' : folder;
}

function rankOf(path: string): number {
  return layers.findIndex((names) => names.includes(layerOf(path)));
}

/** All imports of one of our files by another, with the paths shortened to what `name` makes of them. */
function importPairs(
  sources: readonly Source[],
  name = (path: string): string => path,
): (readonly [string, string])[] {
  const ours = (path: string): boolean => /^(src|migrations)\//.test(path);
  const pairs = sources.flatMap(({ path, imports }) =>
    imports.filter(ours).map((target) => [name(path), name(target)] as const),
  );
  return pairs.filter(([from, to]) => from !== to);
}

/** What is left of the imports when all that begin or end nowhere are taken away, again and again: the circles. */
function circles(pairs: readonly (readonly [string, string])[]): (readonly [string, string])[] {
  const imported = new Set(pairs.map(([, to]) => to));
  const importing = new Set(pairs.map(([from]) => from));
  const rest = pairs.filter(([from, to]) => imported.has(from) && importing.has(to));
  return rest.length === pairs.length ? rest : circles(rest);
}

describe('imports', () => {
  it('go up in the order of the modules, and never to a neighbour', () => {
    expect(files.map(({ path }) => path).filter((path) => rankOf(path) < 0)).toEqual([]);
    const pairs = importPairs(files).filter(([from, to]) => layerOf(from) !== layerOf(to));
    expect(pairs.length).toBeGreaterThan(80);
    // A command is a program of its own, beside the application: it exports nothing, so nothing can lean on it.
    const isCommand = (path: string): boolean =>
      layerOf(path) === 'admin' &&
      places(
        files.filter((file) => file.path === path),
        isExported,
      ).length === 0;
    const isAllowed = ([from, to]: readonly [string, string]): boolean =>
      rankOf(to) < rankOf(from) || (to === 'src/data-source.ts' && isCommand(from));
    expect(pairs.filter((pair) => !isAllowed(pair))).toEqual([]);
  });

  it('make no circle of files, types included, nor of folders within the platform', () => {
    const pairs = importPairs(files);
    const known = files.map(({ path }) => path);
    expect(pairs.length).toBeGreaterThan(150);
    expect(pairs.filter(([, to]) => !known.includes(to))).toEqual([]);
    expect(circles(pairs)).toEqual([]);

    const platform = files.filter(({ path }) => path.startsWith('src/platform/'));
    const folders = importPairs(platform, (path) => path.split('/').slice(0, 3).join('/'));
    expect(folders.length).toBeGreaterThan(5);
    expect(circles(folders)).toEqual([]);
  });
});

describe('the sources', () => {
  it('hold no forwardRef, no barrel and no default export', () => {
    expect(places(src, (node) => ts.isIdentifier(node) && node.text === 'forwardRef')).toEqual([]);
    expect(src.map(({ path }) => path).filter((path) => basename(path) === 'index.ts')).toEqual([]);
    const isReExport = (node: ts.Node): boolean => ts.isExportDeclaration(node) && !!node.moduleSpecifier;
    const isDefault = (node: ts.Node): boolean =>
      ts.isExportAssignment(node) || node.kind === ts.SyntaxKind.DefaultKeyword;
    expect(places(src, (node) => isReExport(node) || isDefault(node))).toEqual([]);
    expect(places(src, isExported).length).toBeGreaterThan(100);
  });

  it('hold no any, and take the time, the environment and the schema from their one place', () => {
    expect(places(src, (node) => node.kind === ts.SyntaxKind.AnyKeyword)).toEqual([]);

    const isNow = (node: ts.Node): boolean =>
      /^(new Date(\(\))?|Date\(\)|Date\.now|Date\['now'\])$/.test(node.getText());
    const filesOf = (list: readonly string[]): string[] => [
      ...new Set(list.map((at) => at.split(':')[0] ?? '')),
    ];
    expect(filesOf(places(production, isNow))).toEqual(['src/common/clock.ts']);
    const isEnv = (node: ts.Node): boolean => /^process(\.env|\['env'\])$/.test(node.getText());
    expect(filesOf(places(production, isEnv))).toEqual(['src/config/env.ts']);

    const isSynchronize = (node: ts.Node): boolean =>
      ts.isPropertyAssignment(node) && /^['"]?synchronize\b/.test(node.name.getText());
    expect(places(files, isSynchronize).length).toBeGreaterThan(0);
    expect(places(files, (node) => isSynchronize(node) && !/:\s*false$/.test(node.getText()))).toEqual([]);
  });

  it('leave nothing for later and stay short enough to be read', () => {
    const later = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'].join('|')})\\b`);
    expect(files.filter(({ text }) => later.test(text)).map(({ path }) => path)).toEqual([]);

    const lines = ({ text }: Source): number => text.trimEnd().split('\n').length;
    expect(production.length).toBeGreaterThan(70);
    const long = production.filter((source) => lines(source) > 250);
    expect(long.map((source) => `${source.path}: ${lines(source)} lines`)).toEqual([]);
    const pipeline = production.filter(({ path }) => path === 'src/request-pipeline.ts');
    expect(pipeline.map((source) => lines(source) < 40)).toEqual([true]);
  });
});

describe('controllers', () => {
  const verb = /^(Get|Post|Put|Patch|Delete|Head|Options|All|Search|Sse)$/;
  const handlers = production
    .flatMap(({ nodes }) => nodes.filter((node) => ts.isMethodDeclaration(node)))
    .filter((method) => decorators(method).some((name) => verb.test(name)))
    .map((method) => ({
      at: place(method),
      own: decorators(method),
      all: [...decorators(method), ...decorators(method.parent)],
      ofParameters: method.parameters.flatMap(decorators),
    }));

  it('mark the routes whose calls are metered, and no others, so that the limits of plans hold for them', () => {
    const users = production.filter(({ imports }) => imports.includes('src/usage/usage.interceptor.ts'));
    expect(users.map(({ path }) => path).filter((path) => !/\.(module|controller)\.ts$/.test(path))).toEqual(
      [],
    );
    const isMethod = (node: ts.Node): boolean =>
      ts.isClassElement(node) && !ts.isConstructorDeclaration(node) && /\.intercept\b/.test(node.getText());
    const metered = places(users, isMethod);
    expect(metered.length).toBeGreaterThan(0);
    expect(handlers.filter(({ own }) => own.includes('Metered')).map(({ at }) => at)).toEqual(metered);
  });

  it('do what an Idempotency-Key repeats in the transaction that keeps the answer', () => {
    const idempotent = handlers.filter(({ own }) => own.includes('Idempotent'));
    expect(idempotent.length).toBeGreaterThan(0);
    expect(idempotent.filter(({ ofParameters }) => !ofParameters.includes('CurrentTransaction'))).toEqual([]);
  });

  it('T37: stand in controller files, and each of their handlers says who may call it', () => {
    expect(handlers.length).toBeGreaterThan(10);
    expect(handlers.filter(({ at }) => !at.includes('.controller.ts:'))).toEqual([]);
    const access = production.find(({ path }) => path === 'src/common/access.ts');
    const makers = access?.nodes.filter((node) => ts.isVariableDeclaration(node)) ?? [];
    const names = makers.map(({ name }) => name.getText()).filter((name) => /^[A-Z][a-z]/.test(name));
    expect(names).toEqual(expect.arrayContaining(['Public', 'UserAccess', 'ApiKeyAccess']));
    expect(handlers.filter(({ all }) => !all.some((name) => names.includes(name)))).toEqual([]);
  });

  it('document what each handler does and answers', () => {
    const documented = handlers.filter(({ all }) => !all.some((name) => /^ApiExclude/.test(name)));
    expect(documented.length).toBeGreaterThan(10);
    const answers = /^Api(Ok|Accepted|NoContent)Response$/;
    const says = ({ own }: (typeof handlers)[number]): boolean =>
      own.includes('ApiOperation') && own.some((name) => answers.test(name));
    expect(documented.filter((handler) => !says(handler))).toEqual([]);
  });

  it('set the status of every POST, which would be 201 else', () => {
    const posts = handlers.filter(({ own }) => own.includes('Post'));
    expect(posts.length).toBeGreaterThan(3);
    expect(posts.filter(({ own }) => !own.includes('HttpCode'))).toEqual([]);
  });

  it('take their input as DTO classes that exist at run time, without which nothing is validated', () => {
    const inputs = controllers.flatMap(({ nodes }) => {
      const values = nodes.filter((node) =>
        ts.isImportSpecifier(node)
          ? !/\btype\b/.test(node.getText()) && !node.parent.parent.getText().startsWith('type ')
          : ts.isClassDeclaration(node),
      );
      const classes = values.map((node) => (node as ts.ClassDeclaration).name?.text);
      return nodes
        .filter((node) => ts.isParameter(node))
        .filter((node) => decorators(node).some((name) => /^(Body|Query|Param|Headers)$/.test(name)))
        .map((node) => ({ at: place(node), type: node.type?.getText() ?? '', classes }));
    });
    expect(inputs.length).toBeGreaterThan(6);
    const wrong = inputs.filter(({ type, classes }) => !/Dto$/.test(type) || !classes.includes(type));
    expect(wrong.map(({ at, type }) => `${at} ${type}`)).toEqual([]);

    const imports = controllers.flatMap(({ nodes }) => nodes.filter((node) => ts.isImportDeclaration(node)));
    const ofDtos = imports.map((node) => node.getText()).filter((text) => /\.dto'/.test(text));
    expect(ofDtos.length).toBeGreaterThan(5);
    expect(ofDtos.filter((text) => /\btype\b/.test(text))).toEqual([]);
  });
});

describe('the schema', () => {
  const classesOf = ({ nodes }: Source): ts.ClassDeclaration[] =>
    nodes.filter((node) => ts.isClassDeclaration(node));

  /** What stands in the array that a file declares under a name. */
  function listed(path: string, name: string): string[] {
    const nodes = files.find((file) => file.path === path)?.nodes ?? [];
    const array = nodes.find(
      (node) =>
        ts.isArrayLiteralExpression(node) &&
        ts.isVariableDeclaration(node.parent) &&
        node.parent.name.getText() === name,
    );
    return (
      (array as ts.ArrayLiteralExpression | undefined)?.elements.map((element) => element.getText()) ?? []
    );
  }

  it('lists every entity in the data source of the commands', () => {
    const entities = production.flatMap(classesOf).filter((node) => decorators(node).includes('Entity'));
    const names = entities.map(({ name }) => name?.text ?? '');
    expect(names.length).toBeGreaterThan(4);
    expect(entities.map(place).filter((at) => !at.includes('.entity.ts:'))).toEqual([]);
    expect(listed('src/data-source.ts', 'entities').sort()).toEqual(names.sort());
  });

  it('lists every migration, oldest first, and each knows its way up and down', () => {
    const migrations = files.filter(({ path }) => /^migrations\/(?!index)/.test(path));
    expect(migrations.length).toBeGreaterThan(0);
    const names = migrations.map((source) => classesOf(source)[0]?.name?.text);
    expect(listed('migrations/index.ts', 'migrations')).toEqual(names);

    const wrong = migrations.filter(({ path, nodes }) => {
      const methods = nodes.filter((node) => ts.isMethodDeclaration(node) && node.body?.statements.length);
      const ways = methods.map((node) => (node as ts.MethodDeclaration).name.getText());
      return (
        !/^migrations\/\d{13}-[a-z0-9-]+\.ts$/.test(path) || !ways.includes('up') || !ways.includes('down')
      );
    });
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });
});
