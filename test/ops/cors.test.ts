import { describe, expect, it } from 'vitest';
import { corsHeaders, getBucketCors, preflight, putBucketCors } from '../../src/ops/cors.js';
import type { BucketSettings, CorsRule } from '../../src/store/contract.js';
import { renderXml } from '../../src/wire/xml.js';
import { bucketOf, context, input } from './stub.js';

const rule = (more: Partial<CorsRule>): CorsRule => ({
  allowedOrigins: ['*'],
  allowedMethods: ['GET'],
  allowedHeaders: [],
  exposeHeaders: [],
  ...more,
});

describe('corsHeaders', () => {
  it.each([
    ['https://a.example', ['https://a.example'], 'https://a.example'],
    ['https://a.example', ['*'], '*'],
    ['foo.suffix', ['*suffix'], 'foo.suffix'],
    ['suffix', ['*suffix'], 'suffix'],
    ['startend', ['start*end'], 'startend'],
    ['start1end', ['start*end'], 'start1end'],
    ['start1', ['start*end'], undefined],
    ['prefix.x', ['prefix*'], 'prefix.x'],
    // Head and tail of the pattern may not share characters.
    ['aba', ['ab*ba'], undefined],
    ['https://A.example', ['https://a.example'], undefined],
    ['https://a.example.evil', ['https://a.example'], undefined],
  ])('%s by %j -> %s', (origin, allowedOrigins, expected) => {
    expect(corsHeaders([rule({ allowedOrigins })], origin, 'GET', {})?.['Access-Control-Allow-Origin']).toBe(expected);
  });

  it('takes the first rule that fits all of a request', () => {
    const rules = [
      rule({ allowedMethods: ['PUT'], maxAgeSeconds: 1 }),
      rule({
        allowedOrigins: ['https://a'],
        allowedHeaders: ['x-amz-*'],
        exposeHeaders: ['ETag', 'x-b'],
        maxAgeSeconds: 2,
      }),
    ];
    const headers = { 'access-control-request-headers': 'X-Amz-Date, x-amz-meta-a' };
    expect(corsHeaders(rules, 'https://a', 'GET', headers)).toEqual({
      'Access-Control-Allow-Origin': 'https://a',
      'Access-Control-Allow-Methods': 'GET',
      'Access-Control-Allow-Headers': 'x-amz-date, x-amz-meta-a',
      'Access-Control-Expose-Headers': 'ETag, x-b',
      'Access-Control-Max-Age': '2',
      'Access-Control-Allow-Credentials': 'true',
      Vary: 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method',
    });
    expect(
      corsHeaders(rules, 'https://a', 'GET', { 'access-control-request-headers': 'authorization' }),
    ).toBeUndefined();
    expect(corsHeaders(rules, 'https://a', 'DELETE', {})).toBeUndefined();
  });

  it('goes by the method that is asked for, in preflights and others', () => {
    const rules = [rule({ allowedMethods: ['GET'] })];
    expect(corsHeaders(rules, 'https://a', 'PUT', { 'access-control-request-method': 'GET' })).toBeDefined();
    expect(corsHeaders(rules, 'https://a', 'GET', { 'access-control-request-method': 'PUT' })).toBeUndefined();
  });

  it('never allows credentials to any origin', () => {
    expect(corsHeaders([rule({})], 'https://a', 'GET', {})).not.toHaveProperty('Access-Control-Allow-Credentials');
  });
});

describe('preflight', () => {
  const headers = { origin: 'https://a', 'access-control-request-method': 'GET' };
  it('answers 200, or refuses', () => {
    expect(preflight([rule({})], headers).status).toBe(200);
    expect(() => preflight([rule({ allowedMethods: ['PUT'] })], headers)).toThrow('not allowed');
    expect(() => preflight([], headers)).toThrow('not enabled');
    expect(() => preflight([rule({})], { origin: 'https://a' })).toThrow('Access-Control-Request-Method');
    expect(() => preflight([rule({})], { 'access-control-request-method': 'GET' })).toThrow('Origin');
    expect(() => preflight([rule({})], { ...headers, 'access-control-request-method': 'TRACE' })).toThrow('TRACE');
  });
});

describe('the configuration', () => {
  const XML =
    '<CORSConfiguration><CORSRule><ID>r1</ID><AllowedOrigin>https://*.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod>' +
    '<AllowedMethod>PUT</AllowedMethod><AllowedHeader>*</AllowedHeader><ExposeHeader>ETag</ExposeHeader>' +
    '<MaxAgeSeconds>3000</MaxAgeSeconds></CORSRule></CORSConfiguration>';

  it('comes back as it was put', async () => {
    let settings: BucketSettings = {};
    const ctx = context({
      updateBucket: (_name, change) => {
        settings = change(settings);
        return Promise.resolve(bucketOf(settings));
      },
    });
    await putBucketCors(ctx, input({ text: XML }));
    const { xml } = await getBucketCors({ ...ctx, bucket: bucketOf(settings) }, input({}));
    expect(xml && renderXml(xml, { xmlns: null, declaration: false })).toBe(XML);
    await expect(getBucketCors(ctx, input({}))).rejects.toMatchObject({ code: 'NoSuchCORSConfiguration' });
  });

  it.each([
    ['no rule', '', 'MalformedXML'],
    ['no origin', '<CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule>', 'MalformedXML'],
    [
      'an unknown method',
      '<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>PATCH</AllowedMethod></CORSRule>',
      'InvalidRequest',
    ],
    [
      'two wildcards',
      '<CORSRule><AllowedOrigin>*a*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>',
      'InvalidRequest',
    ],
    [
      'a header that is none',
      '<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><ExposeHeader>a&#13;&#10;b: c</ExposeHeader></CORSRule>',
      'InvalidRequest',
    ],
  ])('refuses %s', async (_name, rules, code) => {
    const text = `<CORSConfiguration>${rules}</CORSConfiguration>`;
    await expect(putBucketCors(context({}), input({ text }))).rejects.toMatchObject({ code });
  });
});
