import { Inject, Injectable } from '@nestjs/common';
import type { OnModuleInit } from '@nestjs/common';
import { DiscoveryService, MetadataScanner } from '@nestjs/core';
import { DOORS } from './doors.js';
import { DECLARATION } from './permission.js';
import type { Declaration } from './permission.js';
import { holdersOf } from './roles.js';

/** Metadata that Nest puts on GraphQL handlers (Query, Mutation, Subscription) and on routes. */
const GRAPHQL_KIND = 'graphql:resolver_type';
const GRAPHQL_NAME = 'graphql:resolver_name';
const ROUTE_PATH = 'path';
const ROOT_KINDS = new Set<unknown>(['Query', 'Mutation', 'Subscription']);

class UndeclaredPermission extends Error {
  override readonly name = 'UndeclaredPermission';
}

export interface DeclaredHandler {
  /** e.g. `Query RunsResolver.run` */
  readonly name: string;
  /** Name of the field in the schema; of a route its method. */
  readonly field: string;
  readonly declaration: Declaration | undefined;
  /** Who may call it, as one text: roles, `anyone who signed in` or `anyone`, and why. */
  readonly open: string;
}

/** Ends the boot when a handler says nothing about who may call it: forgetting must not mean "everyone". */
@Injectable()
export class PermissionCheck implements OnModuleInit {
  constructor(
    @Inject(DiscoveryService) private readonly discovery: DiscoveryService,
    @Inject(MetadataScanner) private readonly scanner: MetadataScanner,
  ) {}

  onModuleInit(): void {
    const silent = this.handlers().filter((handler) => handler.declaration === undefined);
    if (silent.length === 0) return;
    const names = silent.map((handler) => handler.name).join(', ');
    throw new UndeclaredPermission(`no @Permission or @Public on: ${names}`);
  }

  /** Every handler that can be reached from outside. */
  handlers(): DeclaredHandler[] {
    const doors: DeclaredHandler[] = Object.entries(DOORS).map(([path, declaration]) => ({
      name: `Route ${path}`,
      field: path,
      declaration,
      open: openTo(declaration),
    }));
    const wrappers = [...this.discovery.getProviders(), ...this.discovery.getControllers()];
    const found = wrappers.flatMap(({ instance }) => {
      if (typeof instance !== 'object' || instance === null) return [];
      const prototype: unknown = Object.getPrototypeOf(instance);
      if (typeof prototype !== 'object' || prototype === null) return [];
      return this.scanner
        .getAllMethodNames(prototype)
        .flatMap((method) => declaredHandler(instance, prototype, method));
    });
    return [...found, ...doors];
  }
}

function declaredHandler(instance: object, prototype: object, method: string): DeclaredHandler[] {
  const handler: unknown = Reflect.get(prototype, method);
  if (typeof handler !== 'function') return [];
  const kind: unknown = Reflect.getMetadata(GRAPHQL_KIND, handler);
  const isRoute = Reflect.hasMetadata(ROUTE_PATH, handler);
  if (!isRoute && !ROOT_KINDS.has(kind)) return [];
  const name = `${isRoute ? 'Route' : String(kind)} ${instance.constructor.name}.${method}`;
  const declaration = Reflect.getMetadata(DECLARATION, handler) as Declaration | undefined;
  const given: unknown = Reflect.getMetadata(GRAPHQL_NAME, handler);
  const field = typeof given === 'string' ? given : method;
  return [{ name, field, declaration, open: openTo(declaration) }];
}

function openTo(declaration: Declaration | undefined): string {
  if (!declaration) return 'nobody';
  if ('needs' in declaration) return `${declaration.needs} = ${holdersOf(declaration.needs).join(', ')}`;
  if ('signedInBecause' in declaration) return `anyone who signed in: ${declaration.signedInBecause}`;
  return `anyone: ${declaration.publicBecause}`;
}
