import {
  getNamedType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isObjectType,
} from 'graphql';
import type { GraphQLField, GraphQLInputType, GraphQLObjectType, GraphQLSchema } from 'graphql';
import type { Random } from './random.js';

/** Bodies for the API: documents grown from the schema, right and wrong, and bytes of such bodies turned over. */
export function queryFuzz(schema: GraphQLSchema, random: Random): { document(): string; mutated(): Buffer } {
  const fuzz = new Fuzz(schema, random);
  return { document: () => fuzz.body(), mutated: () => fuzz.turned(Buffer.from(fuzz.body())) };
}

const ODD_TEXTS = [
  '',
  'acme',
  'a'.repeat(300),
  '../../etc/passwd',
  "'; DROP TABLE runs; --",
  '<script>',
  '\u0000',
  '\ud800',
  '\u202e',
  '💥',
  '{{7*7}}',
  '${jndi:ldap://x}',
  '%s%n',
  '__proto__',
  'constructor',
  'null',
  '-1',
  '1e309',
  'acme.run.01kb3v6r2e8m4q7x9z0a1b2c3d',
];
const ODD_VALUES = [
  'null',
  'true',
  '-1',
  '0',
  '1.5',
  '1e999',
  '99999999999999999999',
  '[]',
  '{}',
  '[[[]]]',
  '{a:{b:[1]}}',
  'ENUM',
  '$nowhere',
  '""',
  '"\\u0000"',
  '"""block"""',
];
const ODD_NAMES = ['__typename', '__schema', 'nothing', 'constructor', '__proto__', 'toString', 'é'];
const ODD_PARTS = [
  '#',
  '@skip(if: true)',
  '@include(if: $x)',
  '@deprecated',
  '...',
  '... on Run',
  '... @skip(if: false) { __typename }',
  '{',
  '}',
  '(',
  '"',
  '"""',
  '\\',
  ',',
  '|',
  '&',
  '!',
  '\uFEFF',
];

class Fuzz {
  private variables: Record<string, unknown> = {};
  private declared: string[] = [];
  private aliases = 0;

  constructor(
    private readonly schema: GraphQLSchema,
    private readonly random: Random,
  ) {}

  body(): string {
    this.variables = {};
    this.declared = [];
    const kind = this.random.pick([
      'query',
      'query',
      'query',
      'query',
      'mutation',
      'mutation',
      'subscription',
    ] as const);
    const roots = {
      query: this.schema.getQueryType(),
      mutation: this.schema.getMutationType(),
      subscription: this.schema.getSubscriptionType(),
    };
    const root = roots[kind];
    const inner = root ? this.selection(root, 1 + this.random.below(6)) : '{ __typename }';
    const head = this.declared.length > 0 ? `${kind} Q(${this.declared.join(', ')})` : kind;
    const fragment = this.one(8)
      ? ` fragment F on ${this.random.pick(['Run', 'Query', 'Nothing'])} { __typename ...F }`
      : '';
    const query = this.sprinkle(`${head} ${inner}${fragment}`);
    const more = this.one(10) ? { operationName: this.random.pick(['Q', '', 'a b', ...ODD_TEXTS]) } : {};
    return JSON.stringify({ query, variables: this.one(20) ? this.json(3) : this.variables, ...more });
  }

  private one(of: number): boolean {
    return this.random.below(of) === 0;
  }

  private selection(type: GraphQLObjectType, depth: number): string {
    const fields = Object.values(type.getFields());
    const parts = Array.from({ length: 1 + this.random.below(4) }, () => {
      if (this.one(60)) return this.random.pick(ODD_NAMES);
      return this.field(this.random.pick(fields), depth);
    });
    return `{ ${parts.join(' ')} }`;
  }

  private field(field: GraphQLField<unknown, unknown>, depth: number): string {
    // two answers under one name are refused before anything else is looked at
    const alias = field.args.length > 0 || this.one(6) ? `a${(this.aliases += 1)}: ` : '';
    const given = field.args
      .filter(({ type }) => (isNonNullType(type) ? !this.one(40) : !this.one(2)))
      .map(({ name, type }) => `${this.one(80) ? 'other' : name}: ${this.argument(type)}`);
    const type = getNamedType(field.type);
    const inner =
      isObjectType(type) && !this.one(100)
        ? depth > 0
          ? this.selection(type, depth - 1)
          : '{ __typename }'
        : '';
    const directive = this.one(60)
      ? ` @${this.random.pick(['skip', 'include', 'other'])}(if: ${this.random.pick(ODD_VALUES)})`
      : '';
    return `${alias}${field.name}${given.length > 0 ? `(${given.join(', ')})` : ''}${directive} ${inner}`;
  }

  private argument(type: GraphQLInputType): string {
    if (this.one(15)) return this.random.pick(ODD_VALUES);
    if (!this.one(2)) return this.literal(type, 3);
    const name = `v${this.declared.length}`;
    this.declared.push(
      `$${name}: ${this.one(10) ? this.random.pick(['ID', 'Nothing', '[Int!]!']) : String(type)}`,
    );
    this.variables[name] = this.one(8) ? this.json(3) : this.value(type, 3);
    return `$${name}`;
  }

  private literal(type: GraphQLInputType, depth: number): string {
    if (isNonNullType(type)) return this.literal(type.ofType, depth);
    if (isListType(type)) return `[${this.literal(type.ofType, depth)}]`;
    if (isEnumType(type)) return this.random.pick(type.getValues()).name;
    if (isInputObjectType(type) && depth > 0) {
      const parts = Object.values(type.getFields()).map(
        (part) => `${part.name}: ${this.literal(part.type, depth - 1)}`,
      );
      return `{ ${parts.join(', ')} }`;
    }
    if (type.toString() === 'Int') return String(this.random.pick([0, 1, 5, 100, 101, -1, 2 ** 31]));
    return JSON.stringify(this.random.pick(ODD_TEXTS));
  }

  private value(type: GraphQLInputType, depth: number): unknown {
    if (isNonNullType(type)) return this.value(type.ofType, depth);
    if (isListType(type)) return [this.value(type.ofType, depth)];
    if (isEnumType(type)) return this.random.pick(type.getValues()).name;
    if (isInputObjectType(type) && depth > 0)
      return Object.fromEntries(
        Object.values(type.getFields()).map((part) => [part.name, this.value(part.type, depth - 1)]),
      );
    if (type.toString() === 'Int') return this.random.pick([0, 1, 5, 100, 101, -1, 2 ** 31, 1.5]);
    return this.random.pick(ODD_TEXTS);
  }

  private json(depth: number): unknown {
    if (depth === 0 || this.one(2))
      return this.random.pick<unknown>([null, true, 0, -1, 1e300, 'text', ...ODD_TEXTS]);
    const parts = Array.from({ length: this.random.below(4) }, () => this.json(depth - 1));
    return this.one(2)
      ? parts
      : Object.fromEntries(parts.map((part, i) => [this.random.pick([`k${i}`, ...ODD_NAMES]), part]));
  }

  /** Now and then something is put where it does not belong. */
  private sprinkle(text: string): string {
    if (!this.one(10)) return text;
    const at = this.random.below(text.length);
    return text.slice(0, at) + this.random.pick(ODD_PARTS) + text.slice(at + this.random.below(3));
  }

  /** One to eight places: a bit turned, a byte replaced, a piece cut out, doubled or moved. */
  turned(body: Buffer): Buffer {
    let bytes = body;
    for (let left = 1 + this.random.below(8); left > 0 && bytes.length > 0; left -= 1) {
      const [at, length] = [this.random.below(bytes.length), 1 + this.random.below(20)];
      const [before, piece, after] = [
        bytes.subarray(0, at),
        bytes.subarray(at, at + length),
        bytes.subarray(at + length),
      ];
      const replaced = Buffer.from([this.random.below(256)]);
      const turned = Buffer.from([(bytes[at] ?? 0) ^ (1 << this.random.below(8))]);
      bytes = this.random.pick([
        Buffer.concat([before, turned, bytes.subarray(at + 1)]),
        Buffer.concat([before, replaced, bytes.subarray(at + 1)]),
        Buffer.concat([before, after]),
        Buffer.concat([before, piece, piece, after]),
        Buffer.concat([after, piece, before]),
      ]);
    }
    return bytes;
  }
}
