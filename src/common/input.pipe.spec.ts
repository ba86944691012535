import { IsString } from 'class-validator';
import { CompiledInput, acceptCompiled } from './compiled-input';
import { findFault } from './input.pipe';

const nested = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth));

describe('findFault', () => {
  it('lets ordinary input pass', () => {
    expect(findFault({ a: ['b', { c: 1, d: null, e: true, f: 'emoji \u{1F600}' }] })).toBeUndefined();
    expect(findFault(nested(32))).toBeUndefined();
  });

  it('refuses nesting deeper than 32, however deep', () => {
    expect(findFault(nested(33))?.message).toContain('nested');
    expect(findFault(nested(5_000))?.message).toContain('nested');
  });

  it.each([
    ['NUL in a value', { a: { b: 'x\0' } }, 'a.b'],
    ['a lone surrogate in a value', { a: '\ud800' }, 'a'],
    ['NUL in a name', { a: { 'b\0': 1 } }, 'a'],
    ['a name that means something to objects', { a: { constructor: 1 } }, 'a'],
    ['__proto__', JSON.parse('{"__proto__": 1}'), '__proto__'],
    ['a lone surrogate in a list', { a: ['ok', '\udc00'] }, 'a.1'],
  ])('refuses %s, naming the field', (_what, value, field) => {
    expect(findFault(value)?.field).toBe(field);
  });
});

describe('compiled input', () => {
  it('refuses to compile a rule that it would not follow', () => {
    @CompiledInput()
    class Tagged {
      @IsString({ each: true })
      tags!: string[];
    }
    expect(() => acceptCompiled(Tagged, { tags: ['a'] })).toThrow('Tagged.tags');
  });

  it('leaves unknown fields to the usual way', () => {
    @CompiledInput()
    class Named {
      @IsString()
      name!: string;
    }
    expect(acceptCompiled(Named, { name: 'a' })).toBeInstanceOf(Named);
    expect(acceptCompiled(Named, { name: 'a', other: 1 })).toBeUndefined();
    expect(acceptCompiled(Named, [])).toBeUndefined();
  });
});
